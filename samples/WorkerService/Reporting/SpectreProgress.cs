using Spectre.Console;

namespace WorkerService.Reporting;

/// <summary>A bar on a terminal.</summary>
internal sealed class SpectreProgress : ITransferProgress
{
    private readonly TaskCompletionSource _end = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly TaskCompletionSource<ProgressTask> _bar = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private readonly Task _display;

    public SpectreProgress(IAnsiConsole console, string fileName, long length)
    {
        _display = console.Progress()
            .Columns(
                new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn(), new DownloadedColumn(), new TransferSpeedColumn())
            .StartAsync(async context =>
            {
                _bar.SetResult(context.AddTask(Markup.Escape(fileName), maxValue: Math.Max(length, 1)));
                await _end.Task;
            });
    }

    public void Advance(long bytes)
    {
        if (_bar.Task.IsCompletedSuccessfully)
            _bar.Task.Result.Increment(bytes);
    }

    public async ValueTask DisposeAsync()
    {
        _end.TrySetResult();
        await _display;
    }
}
