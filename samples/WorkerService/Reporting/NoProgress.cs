namespace WorkerService.Reporting;

/// <summary>Shows nothing: the other side shows it.</summary>
internal sealed class NoProgress : IProgressSource, ITransferProgress
{
    private NoProgress()
    {
    }

    public static NoProgress Source { get; } = new();

    public ITransferProgress StartProgress(string fileName, long length) => this;

    public void Advance(long bytes)
    {
    }

    public ValueTask DisposeAsync() => ValueTask.CompletedTask;
}
