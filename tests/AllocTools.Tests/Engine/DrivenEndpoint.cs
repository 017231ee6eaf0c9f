using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;
using Xunit;

namespace AllocTools.Tests.Engine;

/// <summary>An endpoint of a <see cref="DrivenContext"/>, with a pool and a peer.</summary>
internal sealed class DrivenEndpoint : IAsyncDisposable
{
    private readonly RmaProgress _progress;

    public DrivenEndpoint(RmaProgress progress = RmaProgress.Caller, Action<RmaEndpointOptions>? configure = null, ILogger? logger = null, TimeProvider? time = null)
    {
        _progress = progress;
        RmaEndpointOptions options = new() { Progress = progress };
        configure?.Invoke(options);
        var context = new DrivenContext(options, logger, time);
        Driver = context.Driver;
        Test = new TestPool(context, o => o.Access = RmaAccess.RemoteRead | RmaAccess.RemoteWrite);
        Endpoint = context.OpenEndpoint();
        Peer = Endpoint.InsertPeer(OtherAddress);
    }

    public static byte[] OtherAddress { get; } = [1, 2, 3];

    public DrivenDriver Driver { get; }

    public TestPool Test { get; }

    public RmaMemoryPool<HostProvider> Pool => Test.Pool;

    public IRmaEndpoint Endpoint { get; }

    public RmaPeer Peer { get; }

    /// <summary>Waits for a task, and makes progress meanwhile if the caller has to.</summary>
    public async Task Await(Task task)
    {
        using var limit = new CancellationTokenSource(TestTime.Seconds(30));
        while (_progress == RmaProgress.Caller && !task.IsCompleted)
        {
            limit.Token.ThrowIfCancellationRequested();
            Endpoint.Poll([]);
            await Task.Yield();
        }
        await task.WaitAsync(limit.Token);
    }

    /// <inheritdoc cref="Await(Task)"/>
    public async Task<T> Await<T>(Task<T> task)
    {
        await Await((Task)task);
        return await task;
    }

    /// <summary>Waits until a condition holds, and makes progress meanwhile if the caller has to.</summary>
    public void AssertSoon(Func<bool> condition)
    {
        bool isSo = SpinWait.SpinUntil(
            () =>
            {
                if (_progress == RmaProgress.Caller)
                    Endpoint.Poll([]);
                return condition();
            },
            TestTime.Seconds(30));
        Assert.True(isSo, Endpoint.GetStatistics().ToString());
    }

    /// <summary>Asserts that no operation has a slot, and that only the test's own buffers are in use.</summary>
    public void AssertIdle(int rented)
    {
        AssertSoon(() => Endpoint.GetStatistics() is { Outstanding: 0, Pending: 0 });
        Assert.Equal((rented, 0), (Test.Statistics.RentedBuffers, Test.Statistics.QuarantinedBuffers));
    }

    public async ValueTask DisposeAsync()
    {
        await Endpoint.DisposeAsync();
        await Test.DisposeAsync();
    }
}
