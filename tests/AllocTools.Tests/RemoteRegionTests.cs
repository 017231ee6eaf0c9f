using AllocTools.Endpoints;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Tests;

/// <summary>Tests when a mapped key is unmapped.</summary>
public sealed class RemoteRegionTests
{
    [Fact]
    public async Task ARegionThatIsDisposedLaterRefusesItsUseAtOnceAndUnmapsItsKeyElsewhere()
    {
        using ManualResetEventSlim hasReturned = new();
        TaskCompletionSource<bool> unmapped = new(TaskCreationOptions.RunContinuationsAsynchronously);
        RemoteRegion region = new(default, new RemoteMemory(0, 100, 1, RmaAccess.RemoteWrite), 1, () => unmapped.SetResult(hasReturned.Wait(TestTime.Seconds(20))));
        region.AddUse();
        region.DisposeLater();
        Assert.False(region.TryAddUse());
        hasReturned.Set();
        Assert.False(unmapped.Task.IsCompleted);
        // The key is unmapped only after the last operation has ended.
        region.EndUse();
        Assert.True(await unmapped.Task.WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken));
    }

    [Fact]
    public async Task TheCallerIsNotTheOneThatUnmaps()
    {
        using ManualResetEventSlim hasReturned = new();
        TaskCompletionSource<bool> unmapped = new(TaskCreationOptions.RunContinuationsAsynchronously);
        RemoteRegion region = new(default, new RemoteMemory(0, 100, 1, RmaAccess.RemoteWrite), 1, () => unmapped.SetResult(hasReturned.Wait(TestTime.Seconds(20))));
        region.DisposeLater();
        region.Dispose();
        hasReturned.Set();
        Assert.True(await unmapped.Task.WaitAsync(TestTime.Seconds(30), TestContext.Current.CancellationToken));
    }
}
