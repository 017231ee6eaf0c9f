using System.Globalization;
using AllocTools.Testing;
using AllocTools.Testing.TwoProcesses;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>Tests the cost of an endpoint that has nothing to do, in a process of its own.</summary>
public sealed class IdleTests
{
    /// <summary>The share of a processor.</summary>
    private const double MostUsed = 0.04;

    private static readonly TimeSpan Settling = TimeSpan.FromSeconds(2);

    private static readonly TimeSpan Measured = TimeSpan.FromSeconds(3);

    public static TheoryData<string> Fabrics => [.. Fabric.All];

    private static CancellationToken Token => TestContext.Current.CancellationToken;

    [Theory]
    [MemberData(nameof(Fabrics))]
    public async Task AnEndpointThatHasWrittenAndIsIdleUsesHardlyAnyProcessorTime(string fabric)
    {
        await using LocalSide side = await FabricProcesses.StartAsync(fabric);
        using RmaBuffer target = side.Pool.Rent(4096);
        using RmaExposure exposure = target.Expose(RmaAccess.RemoteWrite);
        await side.Process.AskAsync("rent 4096 7");
        string remote = Convert.ToBase64String(exposure.Remote.ToArray());
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {remote}"));
        await Task.Delay(Settling, Token);
        double before = await UsedAsync(side);
        await Task.Delay(Measured, Token);
        double used = (await UsedAsync(side) - before) / Measured.TotalSeconds;
        Assert.True(used < MostUsed, $"It uses {used:P1} of a processor.");
        // The endpoint still wakes up.
        target.Span.Clear();
        Assert.Equal("ok", await side.Process.AskAsync($"write 0 {remote}"));
        Assert.False(target.Span.ContainsAnyExcept((byte)7));
    }

    private static async Task<double> UsedAsync(LocalSide side) =>
        double.Parse(await side.Process.AskAsync("processor"), CultureInfo.InvariantCulture);
}
