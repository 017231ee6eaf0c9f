namespace WorkerService.Reporting;

/// <summary>Shows how far one transfer is, until it is disposed.</summary>
internal interface ITransferProgress : IAsyncDisposable
{
    /// <summary>So many bytes more are there. Called from any thread.</summary>
    void Advance(long bytes);
}
