using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>Receives one file from whoever holds the ticket that it prints.</summary>
internal sealed class ReceiverJob(FileReceiver receiver, TransferOptions options, ITransferReport report) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        TransferSummary summary = await receiver.ReceiveAsync(output.Path, report.Listening, report, cancellationToken);
        output.Keep();
        report.Finished([summary]);
    }
}
