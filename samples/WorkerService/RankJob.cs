using System.Text.Json;
using AllocTools.Connections;
using AllocTools.Mpi;

namespace WorkerService;

/// <summary>One of two ranks that mpirun has started: rank 0 sends, rank 1 receives.</summary>
/// <remarks>
/// MPI itself gives the sender the receiver's ticket, and at the end its summary. Both ranks take part in each exchange: one that has failed gives the other one the
/// reason, which would else wait for it.
/// </remarks>
internal sealed class RankJob(FileSender sender, FileReceiver receiver, RmaConnections connections, TransferOptions options, Report report) : ITransferJob
{
    private readonly MpiEndpoint _endpoint = (MpiEndpoint)connections.Endpoint;

    public Task RunAsync(CancellationToken cancellationToken) => _endpoint.RankCount != 2
        ? throw new TransferException($"The sample moves a file between two ranks, and this job has {_endpoint.RankCount}. Start it with mpirun -n 2.")
        : _endpoint.Rank == 0 ? SendAsync(cancellationToken) : ReceiveAsync(cancellationToken);

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        using SourceFile file = await TryAsync(() => SourceFile.OpenAsync(options.File, options.Timeout), () => null, cancellationToken);
        string ticket = (await ExchangeAsync(new Word(), cancellationToken)).Ticket!;
        TransferSummary sent = await TryAsync(() => sender.SendAsync(file, ticket, cancellationToken), () => null, cancellationToken);
        report.Finished(sent, (await ExchangeAsync(new Word(), cancellationToken)).Summary!);
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        using var senderFailed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        OutputFolder? output = null;
        Task? asking = null;
        try
        {
            TransferSummary received = await TryAsync(
                () =>
                {
                    output = OutputFolder.Open(options.OutputDirectory);
                    return receiver.ReceiveAsync(output.FullPath, ticket => asking = AskAsync(ticket), senderFailed.Token);
                },
                () => asking,
                cancellationToken);
            await asking!;
            await ExchangeAsync(new Word(Summary: received), cancellationToken);
            output!.Keep();
        }
        finally
        {
            output?.Dispose();
        }

        async Task AskAsync(string ticket)
        {
            try
            {
                await ExchangeAsync(new Word(ticket), cancellationToken);
            }
            catch (TransferException)
            {
                await senderFailed.CancelAsync();
                throw;
            }
        }
    }

    /// <summary>Does a part of the job. Where it fails, the other rank gets the reason in place of what it waits for, unless an exchange that the part has begun has failed: that is the cause of all.</summary>
    private async Task<T> TryAsync<T>(Func<Task<T>> part, Func<Task?> asking, CancellationToken cancellationToken)
    {
        try
        {
            return await part();
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            if (asking() is { } begun)
                await begun;
            await ExchangeAsync(new Word(Failure: Report.LineOf(e)), cancellationToken);
            throw;
        }
    }

    /// <summary>Gives the other rank a word, and gets its own.</summary>
    /// <exception cref="TransferException">The other rank has failed.</exception>
    private async Task<Word> ExchangeAsync(Word own, CancellationToken cancellationToken)
    {
        IReadOnlyList<ReadOnlyMemory<byte>> all = await _endpoint.ExchangeAsync(JsonSerializer.SerializeToUtf8Bytes(own, WireJson.Default.Word), cancellationToken);
        Word others = JsonSerializer.Deserialize(all[1 - _endpoint.Rank].Span, WireJson.Default.Word)!;
        return others.Failure is null || own.Failure is not null ? others : throw new TransferException($"The {(_endpoint.Rank == 0 ? "receiver" : "sender")} failed: {others.Failure}");
    }

    /// <summary>What a rank gives the other one.</summary>
    public sealed record Word(string? Ticket = null, TransferSummary? Summary = null, string? Failure = null);
}
