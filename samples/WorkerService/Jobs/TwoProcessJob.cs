using AllocTools;
using WorkerService.Application;
using WorkerService.Processes;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>Starts a receiver as a process of its own, and sends to it.</summary>
/// <remarks>
/// Only the receiver's ticket, its summary and its last word come over the pipe; the rest goes over the fabric. Where
/// the transfer fails on both sides the one that failed first has the reason, so a failure of the fabric here gives the
/// receiver a moment to say what it knows.
/// </remarks>
internal sealed class TwoProcessJob(FileSender sender, TransferOptions options, CommandLine commandLine, ITransferReport report) : ITransferJob
{
    private static readonly TimeSpan LastWordTime = TimeSpan.FromSeconds(1);

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout, cancellationToken);
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        await using ReceiverProcess receiver = ReceiverProcess.Start(commandLine, output.Path);
        PeerTicket ticket = await receiver.TicketAsync(options.StartTimeout, cancellationToken);
        TransferSummary sent = await SendAsync(file, ticket, receiver, cancellationToken);
        TransferSummary received = await receiver.SummaryAsync(options.Timeout, cancellationToken);
        output.Keep();
        report.Finished([sent, received]);
    }

    private async Task<TransferSummary> SendAsync(SourceFile file, PeerTicket ticket, ReceiverProcess receiver, CancellationToken cancellationToken)
    {
        using var receiverFailed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<TransferSummary> sending = sender.SendAsync(file, ticket, report, receiverFailed.Token);
        await Task.WhenAny(sending, receiver.Ended);
        if (!sending.IsCompleted && receiver.Failure is not null)
            await receiverFailed.CancelAsync();
        try
        {
            return await sending;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested && e is OperationCanceledException or (RmaException and not RmaTimeoutException))
        {
            await Task.WhenAny(receiver.Ended, Task.Delay(LastWordTime, cancellationToken));
            throw receiver.Failure ?? e;
        }
    }
}
