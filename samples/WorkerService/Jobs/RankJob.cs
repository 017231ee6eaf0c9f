using System.Text;
using System.Text.Json;
using AllocTools;
using AllocTools.Mpi;
using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>One of two ranks that mpirun has started: rank 0 sends, rank 1 receives.</summary>
/// <remarks>
/// MPI itself gives the sender the receiver's ticket, and at the end its summary. Each exchange is both ranks', also of one that
/// has failed: it gives the reason.
/// </remarks>
internal sealed class RankJob(FileSender sender, FileReceiver receiver, IRmaEndpoint endpoint, TransferOptions options, ITransferReport report) : ITransferJob
{
    private const int Sender = 0;
    private const int Receiver = 1;

    private readonly MpiEndpoint _endpoint = (MpiEndpoint)endpoint;

    public Task RunAsync(CancellationToken cancellationToken) => _endpoint.RankCount != 2
        ? throw new TransferException($"The sample moves a file between two ranks, and this job has {_endpoint.RankCount}. Start it with mpirun -n 2.")
        : _endpoint.Rank == Sender ? SendAsync(cancellationToken) : ReceiveAsync(cancellationToken);

    private async Task SendAsync(CancellationToken cancellationToken)
    {
        SourceFile file;
        try
        {
            file = await SourceFile.OpenAsync(options.File, options.Timeout, cancellationToken);
        }
        catch (Exception e)
        {
            await ExchangeAsync(ErrorLine.Of(e), Receiver, cancellationToken);
            throw;
        }
        using (file)
        {
            PeerTicket ticket = PeerTicket.Parse(await ExchangeAsync("", Receiver, cancellationToken));
            TransferSummary sent = await sender.SendAsync(file, ticket, report, cancellationToken);
            string received = await ExchangeAsync("", Receiver, cancellationToken);
            report.Finished([sent, JsonSerializer.Deserialize<TransferSummary>(received)!]);
        }
    }

    private async Task ReceiveAsync(CancellationToken cancellationToken)
    {
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        using var senderFailed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<string>? asking = null;
        TransferSummary received;
        try
        {
            // The sender shows the progress of both.
            received = await receiver.ReceiveAsync(output.Path, ticket => asking = AskAsync(ticket), NoProgress.Source, senderFailed.Token);
        }
        catch (OperationCanceledException) when (asking is { IsCompletedSuccessfully: true } && !cancellationToken.IsCancellationRequested)
        {
            throw new TransferException($"The sender failed: {await asking}");
        }
        await ExchangeAsync(JsonSerializer.Serialize(received), Sender, cancellationToken);
        output.Keep();

        async Task<string> AskAsync(PeerTicket ticket)
        {
            string reason = await ExchangeAsync(ticket.ToString(), Sender, cancellationToken);
            if (reason.Length > 0)
                await senderFailed.CancelAsync();
            return reason;
        }
    }

    /// <summary>Gives the other rank a text, and gets its own.</summary>
    private async Task<string> ExchangeAsync(string text, int from, CancellationToken cancellationToken)
    {
        IReadOnlyList<ReadOnlyMemory<byte>> all = await _endpoint.ExchangeAsync(Encoding.UTF8.GetBytes(text), cancellationToken);
        return Encoding.UTF8.GetString(all[from].Span);
    }
}
