namespace WorkerService.Reporting;

/// <summary>A line for each tenth of the file, for a terminal that can't do more, a file or a pipe.</summary>
internal sealed class PlainProgress(TextWriter output, string fileName, long length) : ITransferProgress
{
    private const int Steps = 10;

    private readonly Lock _gate = new();
    private long _done;
    private long _step;

    public void Advance(long bytes)
    {
        lock (_gate)
        {
            _done += bytes;
            long step = (long)(_done / (double)length * Steps);
            if (step == _step)
                return;
            _step = step;
            output.WriteLine($"{fileName}: {step * 100 / Steps} %, {_done:N0} of {length:N0} bytes");
        }
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
