using AllocTools.Testing;
using Xunit;

namespace AllocTools.Sample.Tests;

/// <summary>
/// Tests libfabric's own settings from the configuration, which it reads once per process; libfabric itself reports
/// what it has read.
/// </summary>
public sealed class LibfabricSettingsTests : IDisposable
{
    private const string Settings = "--AllocTools:Provider:Settings:FI_LOG_LEVEL=info";
    private readonly TemporaryFolder _source = new();

    [Fact]
    public async Task SettingsReachLibfabric()
    {
        Assert.DoesNotContain("libfabric:", await LogAsync(), StringComparison.Ordinal);
        Assert.Contains("libfabric:", await LogAsync(Settings), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("false", "mr_cache_max_count=0")]
    [InlineData("true", "mr_cache_max_count=<not set>")]
    public async Task LibfabricsOwnRegistrationCacheIsOffUnlessItIsAskedFor(string value, string expected)
    {
        string log = await LogAsync(Settings, $"--AllocTools:Provider:MrCache={value}");
        Assert.Contains(expected, log, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("", "msg_rx_size=256")]
    [InlineData("--AllocTools:Provider:Settings:FI_OFI_RXM_MSG_RX_SIZE=300", "msg_rx_size=300")]
    public async Task ReceiveBuffersOfAnEndpointAreFewUnlessTheyAreAskedFor(string setting, string expected) =>
        Assert.Contains(expected, await LogAsync([Settings, .. setting.Split(' ', StringSplitOptions.RemoveEmptyEntries)]), StringComparison.Ordinal);

    public void Dispose() => _source.Dispose();

    private async Task<string> LogAsync(params string[] arguments)
    {
        await using var sample = new SampleProcess(["--file", _source.Write("data.bin", 1000), .. arguments]);
        SampleResult result = await sample.EndAsync();
        Assert.Equal(0, result.ExitCode);
        return result.Error;
    }
}
