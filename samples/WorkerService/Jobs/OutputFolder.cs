using WorkerService.Transfer;

namespace WorkerService.Jobs;

/// <summary>Where a received file is kept. A temporary directory of our own is removed unless something was kept in it.</summary>
internal sealed class OutputFolder : IDisposable
{
    private bool _removed;

    private OutputFolder(string path, bool isTemporary)
    {
        Path = path;
        _removed = !isTemporary;
    }

    /// <summary>The full path.</summary>
    public string Path { get; }

    /// <summary>Opens the directory that was asked for, or a new temporary one.</summary>
    /// <exception cref="TransferException">It can't be made.</exception>
    public static OutputFolder Open(string? directory)
    {
        try
        {
            return string.IsNullOrEmpty(directory)
                ? new OutputFolder(Directory.CreateTempSubdirectory("alloctools-").FullName, isTemporary: true)
                : new OutputFolder(Directory.CreateDirectory(directory).FullName, isTemporary: false);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"The output directory '{directory}' can't be used: {e.Message}", e);
        }
    }

    /// <summary>The file is there: the directory stays.</summary>
    public void Keep() => _removed = true;

    /// <summary>Removes what nothing was kept in: a temporary directory, or the part of a file that a killed receiver left.</summary>
    public void Dispose()
    {
        PartialFile.RemoveAbandoned(Path);
        if (_removed)
            return;
        _removed = true;
        try
        {
            Directory.Delete(Path, recursive: true);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // A receiver that could not be ended may still write there; what it leaves is in the temporary directory.
        }
    }
}
