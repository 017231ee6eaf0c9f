using System.IO.Pipelines;
using AllocTools.Connections.Tests.Support;

namespace AllocTools.Connections.Tests;

/// <summary>
/// Tests what reads and flushes allocate. Nothing else runs meanwhile, because the bytes of the whole process are
/// counted.
/// </summary>
[Collection(nameof(AllocationTests))]
[CollectionDefinition(nameof(AllocationTests), DisableParallelization = true)]
public sealed class AllocationTests
{
    public static TheoryData<string> Fabrics => ConnectionSide.InOneProcess;

    [Theory, MemberData(nameof(Fabrics))]
    public async Task ReadsAndFlushesAllocateNothing(string fabric)
    {
        await using ConnectedPair pair = await ConnectedPair.OpenAsync(fabric, o => o.HeartbeatInterval = TimeSpan.FromSeconds(15));
        const int Rounds = 20_000;
        Task answering = Task.Run(() => AnswerAsync(pair.Right, 3 * Rounds), TestContext.Current.CancellationToken);
        long bytes = await Task.Run(async () =>
        {
            await AskAsync(pair.Left, 2 * Rounds);
            long before = GC.GetTotalAllocatedBytes(precise: true);
            await AskAsync(pair.Left, Rounds);
            return GC.GetTotalAllocatedBytes(precise: true) - before;
        }, TestContext.Current.CancellationToken);
        await answering;
        // The count includes other work of the process; an object per round would be at least 24 bytes.
        Assert.True(bytes < 12 * Rounds, $"{bytes} bytes in {Rounds} rounds.");
        await pair.EndCleanlyAsync();
    }

    private static async Task AskAsync(RmaConnection connection, int rounds)
    {
        for (int i = 0; i < rounds; i++)
        {
            connection.Output.GetSpan(8)[0] = 1;
            connection.Output.Advance(8);
            await connection.Output.FlushAsync().ConfigureAwait(false);
            ReadResult read = await connection.Input.ReadAsync().ConfigureAwait(false);
            connection.Input.AdvanceTo(read.Buffer.End);
        }
    }

    private static async Task AnswerAsync(RmaConnection connection, int rounds)
    {
        for (int i = 0; i < rounds; i++)
        {
            ReadResult read = await connection.Input.ReadAsync().ConfigureAwait(false);
            connection.Input.AdvanceTo(read.Buffer.End);
            connection.Output.GetSpan(8)[0] = 1;
            connection.Output.Advance(8);
            await connection.Output.FlushAsync().ConfigureAwait(false);
        }
    }
}
