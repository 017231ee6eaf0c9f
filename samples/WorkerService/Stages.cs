using System.Runtime.ExceptionServices;

namespace WorkerService;

/// <summary>The stages of a transfer, which run beside each other: the first one that fails cancels the rest, and its failure is that of all.</summary>
internal static class Stages
{
    public static async Task RunAsync(CancellationToken cancellationToken, params Func<CancellationToken, Task>[] stages)
    {
        using var stop = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Exception? failure = null;
        // A stage that hashes or writes keeps a thread for as long as a chunk takes.
        await Task.WhenAll(Array.ConvertAll(stages, stage => Task.Run(async () =>
        {
            try
            {
                await stage(stop.Token);
            }
            catch (Exception e)
            {
                Interlocked.CompareExchange(ref failure, e, null);
                await stop.CancelAsync();
            }
        })));
        if (failure is not null)
            ExceptionDispatchInfo.Throw(failure);
    }
}
