namespace WorkerService.Reporting;

/// <summary>Starts to show the progress of a transfer.</summary>
internal interface IProgressSource
{
    /// <summary>A transfer begins.</summary>
    /// <param name="fileName">The file's name; it can be printed.</param>
    /// <param name="length">Its bytes.</param>
    ITransferProgress StartProgress(string fileName, long length);
}
