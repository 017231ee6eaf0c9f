using WorkerService.Application;
using WorkerService.Reporting;
using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>Sends and receives in this process, where no fabric leads to another one.</summary>
internal sealed class OneProcessJob(FileSender sender, FileReceiver receiver, TransferOptions options, ITransferReport report, string reason) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        if (options.Role != TransferRole.Both)
            throw new TransferException($"{reason} The role {options.Role} needs it.");
        report.Note($"{reason} Until then both sides run in this process, without a fabric.");
        using SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout, cancellationToken);
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        var listening = new TaskCompletionSource<PeerTicket>(TaskCreationOptions.RunContinuationsAsynchronously);
        TransferSummary? sent = null;
        TransferSummary? received = null;
        await TaskGroup.RunAsync(
            async group =>
            {
                group.Run(async token => received = await receiver.ReceiveAsync(output.Path, listening.SetResult, NoProgress.Source, token));
                PeerTicket ticket = await listening.Task.WaitAsync(group.Token);
                sent = await sender.SendAsync(file, ticket, report, group.Token);
            },
            cancellationToken);
        output.Keep();
        report.Finished([sent!, received!]);
    }
}
