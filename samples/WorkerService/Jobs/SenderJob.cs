using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>Sends a file to a receiver that runs already, here or on another machine.</summary>
internal sealed class SenderJob(FileSender sender, TransferOptions options, ITransferReport report) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        PeerTicket ticket = PeerTicket.Parse(options.Peer!);
        using SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout, cancellationToken);
        TransferSummary summary = await sender.SendAsync(file, ticket, report, cancellationToken);
        report.Finished([summary]);
    }
}
