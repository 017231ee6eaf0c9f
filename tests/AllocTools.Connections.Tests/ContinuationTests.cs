using System.Diagnostics.CodeAnalysis;
using AllocTools.Connections.Tests.Support;
using AllocTools.Endpoints;

namespace AllocTools.Connections.Tests;

/// <summary>Tests on which thread code continues after an await.</summary>
public sealed class ContinuationTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ItGoesOnOnTheThreadPool(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric);
        Assert.True(await ReadsOnThreadPoolAsync(pair));
        await pair.EndCleanlyAsync();
    }

    [Theory, MemberData(nameof(Fabrics))]
    public async Task InlineItGoesOnOnTheThreadThatMakesProgress(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o => o.Continuations = RmaContinuations.Inline);
        Assert.False(await ReadsOnThreadPoolAsync(pair));
        // Code on that thread may write and read.
        Task<byte[]> reading = pair.Left.Input.ReadToEndAsync();
        await pair.Right.Output.WriteAsync(new byte[300_000], TestContext.Current.CancellationToken);
        await pair.Right.Output.CompleteAsync();
        Assert.Equal(300_000, (await reading).Length);
        await pair.EndCleanlyAsync();
    }

    [SuppressMessage("Reliability", "CA2012", Justification = "Its awaiter is what is looked at.")]
    private static async Task<bool> ReadsOnThreadPoolAsync(ConnectedPair pair)
    {
        var goesOn = new TaskCompletionSource<bool>(TaskCreationOptions.RunContinuationsAsynchronously);
        var reading = pair.Right.Input.ReadAsync(TestContext.Current.CancellationToken).ConfigureAwait(false).GetAwaiter();
        Assert.False(reading.IsCompleted);
        reading.UnsafeOnCompleted(() => goesOn.SetResult(Thread.CurrentThread.IsThreadPoolThread));
        await pair.Left.Output.WriteAsync(new byte[1], TestContext.Current.CancellationToken);
        bool isPool = await goesOn.Task;
        pair.Right.Input.AdvanceTo(reading.GetResult().Buffer.End);
        return isPool;
    }
}
