namespace WorkerService;

/// <summary>Receives one file from whoever holds the ticket that it prints.</summary>
internal sealed class ReceiverJob(FileReceiver receiver, TransferOptions options, Report report, AllocTools.IRmaMemoryPool pool) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        TransferSummary summary = await receiver.ReceiveAsync(output.FullPath, ticket => report.Listening(ticket, pool.Context.Traits.ProviderName), cancellationToken);
        output.Keep();
        report.Finished(summary);
    }
}

/// <summary>Sends a file to a receiver that runs already, here or on another machine.</summary>
internal sealed class SenderJob(FileSender sender, TransferOptions options, Report report) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        using SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout);
        report.Finished(await sender.SendAsync(file, options.Peer!, cancellationToken));
    }
}

/// <summary>Sends and receives in this process, where no fabric leads to another one.</summary>
internal sealed class OneProcessJob(FileSender sender, FileReceiver receiver, TransferOptions options, Report report, string reason) : ITransferJob
{
    public async Task RunAsync(CancellationToken cancellationToken)
    {
        Report.Note($"{reason} Until then both sides run in this process, without a fabric.");
        using SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout);
        using OutputFolder output = OutputFolder.Open(options.OutputDirectory);
        var listening = new TaskCompletionSource<string>(TaskCreationOptions.RunContinuationsAsynchronously);
        TransferSummary? sent = null, received = null;
        await Stages.RunAsync(
            cancellationToken,
            async token => received = await receiver.ReceiveAsync(output.FullPath, listening.SetResult, token),
            async token => sent = await sender.SendAsync(file, await listening.Task.WaitAsync(token), token));
        output.Keep();
        report.Finished(sent!, received!);
    }
}

/// <summary>Sends to a receiver in a process of its own, which it has started.</summary>
/// <remarks>
/// Where the transfer fails on both sides the one that failed first has the reason, so a failure of the fabric here gives the receiver a moment to say what it knows.
/// </remarks>
internal sealed class TwoProcessJob : ITransferJob, IAsyncDisposable
{
    private static readonly TimeSpan LastWordTime = TimeSpan.FromSeconds(1);

    private readonly SourceFile _file;
    private readonly OutputFolder _output;
    private readonly ReceiverProcess _receiver;
    private readonly TransferOptions _options;
    private readonly Report _report;
    private FileSender? _sender;
    private readonly long _keptBefore;
    private bool _isDone;

    private TwoProcessJob(SourceFile file, OutputFolder output, ReceiverProcess receiver, TransferOptions options, Report report) =>
        (_file, _output, _receiver, _options, _report, _keptBefore) = (file, output, receiver, options, report, OutputFolder.KeptBytes(output.FullPath, file.Name, file.Length, file.Changed));

    private long KeptBytes => OutputFolder.KeptBytes(_output.FullPath, _file.Name, _file.Length, _file.Changed);

    /// <summary>Opens the file, and starts the receiver.</summary>
    public static async Task<TwoProcessJob> StartAsync(IReadOnlyDictionary<string, string?> settings, TransferOptions options, Report report)
    {
        SourceFile file = await SourceFile.OpenAsync(options.File, options.Timeout);
        OutputFolder? output = null;
        try
        {
            output = OutputFolder.Open(options.OutputDirectory);
            return new TwoProcessJob(file, output, ReceiverProcess.Start(settings, output.FullPath), options, report);
        }
        catch
        {
            output?.Dispose();
            file.Dispose();
            throw;
        }
    }

    public TwoProcessJob With(FileSender sender)
    {
        _sender = sender;
        return this;
    }

    public async Task RunAsync(CancellationToken cancellationToken)
    {
        string ticket = await _receiver.TicketAsync(_options.StartTimeout, cancellationToken);
        using var receiverFailed = CancellationTokenSource.CreateLinkedTokenSource(cancellationToken);
        Task<TransferSummary> sending = _sender!.SendAsync(_file, ticket, receiverFailed.Token);
        await Task.WhenAny(sending, _receiver.Ended);
        if (!sending.IsCompleted && _receiver.Failure is not null)
            await receiverFailed.CancelAsync();
        TransferSummary sent;
        try
        {
            sent = await sending;
        }
        catch (Exception e) when (!cancellationToken.IsCancellationRequested)
        {
            await Task.WhenAny(_receiver.Ended, Task.Delay(LastWordTime, cancellationToken));
            throw _receiver.Failure ?? e;
        }
        TransferSummary received = await _receiver.SummaryAsync(_options.Timeout, cancellationToken);
        _isDone = true;
        _output.Keep();
        _report.Finished(sent, received);
    }

    public async ValueTask DisposeAsync()
    {
        await _receiver.DisposeAsync();
        // Where nothing more has come, the reason may be that the file is another one by now.
        if (!_isDone && KeptBytes is var kept && kept > _keptBefore)
            _report.Kept(kept, _file.Name, _output.FullPath);
        _output.Dispose();
        _file.Dispose();
    }
}
