using AllocTools.Testing;
using Xunit;

namespace AllocTools.Verbs;

/// <summary>Tests FI_UNIVERSE_SIZE: the number of peers for which ofi_rxm requests a queue. Soft-RoCE has one for 127.</summary>
public sealed class UniverseSizeTests
{
    [Theory]
    [InlineData("16", true)]
    [InlineData("127", true)]
    [InlineData("128", false)]
    [InlineData("256", false)]
    public async Task AQueueThatTheDeviceHasNotIsExplained(string size, bool isThere)
    {
        await using var peer = new PeerProcess(["env", $"FI_UNIVERSE_SIZE={size}"], ["pinning", Verbs.Fabric]);
        Assert.StartsWith("ok", await peer.AskAsync("open"), StringComparison.Ordinal);
        string answer = await peer.AskAsync("endpoint");
        Assert.Equal(isThere, answer.StartsWith("ok", StringComparison.Ordinal));
        if (!isThere)
            Assert.Contains("Settings:FI_UNIVERSE_SIZE", answer, StringComparison.Ordinal);
        Assert.Contains("pinned 0", await peer.AskAsync("close"), StringComparison.Ordinal);
    }
}
