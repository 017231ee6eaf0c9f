using System.Text.Json;
using AllocTools;
using AllocTools.Mpi;
using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>One of two ranks that mpirun has started: rank 0 sends, rank 1 receives.</summary>
/// <remarks>
/// MPI itself gives the sender the receiver's ticket, and at the end its summary. Both ranks take part in each exchange: one that
/// has failed gives the other one the reason, which would else wait for it.
/// </remarks>
internal sealed class RankJob(FileSender sender, FileReceiver receiver, IRmaEndpoint endpoint, TransferOptions options, ITransferReport report) : ITransferJob
{
    private const int Sender = 0;

    private readonly MpiEndpoint _endpoint = (MpiEndpoint)endpoint;

    public Task RunAsync(CancellationToken cancellationToken) => _endpoint.RankCount != 2
        ? throw new TransferException($"The sample moves a file between two ranks, and this job has {_endpoint.RankCount}. Start it with mpirun -n 2.")
        : _endpoint.Rank == Sender ? SendAsync(cancellationToken) : ReceiveAsync(cancellationToken);

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        using SourceFile file = await TryAsync(() => SourceFile.OpenAsync(options.File, options.Timeout, cancellationToken), cancellationToken);
        PeerTicket ticket = PeerTicket.Parse(await ExchangeAsync("", cancellationToken));
        TransferSummary sent = await TryAsync(() => sender.SendAsync(file, ticket, report, cancellationToken), cancellationToken);
        string received = await ExchangeAsync("", cancellationToken);
        report.Finished([sent, JsonSerializer.Deserialize<TransferSummary>(received)!]);
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
                    // The sender shows the progress of both.
                    return receiver.ReceiveAsync(output.Path, ticket => asking = AskAsync(ticket), NoProgress.Source, senderFailed.Token);
                },
                cancellationToken,
                () => asking);
            await asking!;
            await ExchangeAsync(JsonSerializer.Serialize(received), cancellationToken);
            output!.Keep();
        }
        finally
        {
            output?.Dispose();
        }

        async Task AskAsync(PeerTicket ticket)
        {
            try
            {
                await ExchangeAsync(ticket.ToString(), cancellationToken);
            }
            catch (TransferException)
            {
                await senderFailed.CancelAsync();
                throw;
            }
        }
    }

    /// <summary>Does a part of the job. Where it fails, the other rank gets the reason in place of what it waits for.</summary>
    /// <param name="part">The part.</param>
    /// <param name="cancellationToken">Ends both ranks' jobs; then nothing is said.</param>
    /// <param name="asking">An exchange that the part has begun; what it fails by is the cause of all.</param>
    private async Task<T> TryAsync<T>(Func<Task<T>> part, CancellationToken cancellationToken, Func<Task?>? asking = null)
    {
        try
        {
            return await part();
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            if (asking?.Invoke() is { } begun)
                await begun;
            await ExchangeAsync(new Word(null, ErrorLine.Of(e)), cancellationToken);
            throw;
        }
    }

    /// <summary>Gives the other rank a text, and gets its own.</summary>
    /// <exception cref="TransferException">The other rank has failed.</exception>
    private async Task<string> ExchangeAsync(string text, CancellationToken cancellationToken)
    {
        Word others = await ExchangeAsync(new Word(text, null), cancellationToken);
        return others.Text ?? throw new TransferException($"The {(_endpoint.Rank == Sender ? "receiver" : "sender")} failed: {others.Failure}");
    }

    private async Task<Word> ExchangeAsync(Word word, CancellationToken cancellationToken)
    {
        IReadOnlyList<ReadOnlyMemory<byte>> all = await _endpoint.ExchangeAsync(JsonSerializer.SerializeToUtf8Bytes(word), cancellationToken);
        return JsonSerializer.Deserialize<Word>(all[1 - _endpoint.Rank].Span)!;
    }

    /// <summary>What a rank gives the other one: a text, or the reason why it has none.</summary>
    private sealed record Word(string? Text, string? Failure);
}
