using Microsoft.Win32.SafeHandles;

namespace WorkerService.Transfer;

/// <summary>A file that is being received: under a name of our own until all of it is there and right.</summary>
/// <remarks>
/// It is locked (flock(2)) as long as somebody writes it, so that one that a killed receiver left behind can be told
/// from one that another receiver is at.
/// </remarks>
internal sealed class PartialFile : IDisposable
{
    private const string Prefix = ".alloctools-";
    private const string Suffix = ".part";

    private readonly string _directory;
    private readonly string _path;
    private readonly SafeFileHandle _handle;
    private bool _committed;

    private PartialFile(string directory)
    {
        _directory = directory;
        _path = Path.Combine(directory, $"{Prefix}{Guid.NewGuid():N}{Suffix}");
        _handle = File.OpenHandle(_path, FileMode.CreateNew, FileAccess.Write, FileShare.None, FileOptions.Asynchronous);
    }

    /// <summary>Makes one, empty. What an earlier receiver left there is removed.</summary>
    /// <exception cref="TransferException">Nothing can be written there.</exception>
    public static PartialFile Create(string directory)
    {
        RemoveAbandoned(directory);
        try
        {
            return new PartialFile(directory);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"The output directory '{directory}' can't be written to: {e.Message}", e);
        }
    }

    /// <summary>Removes partial files that nobody writes any more.</summary>
    public static void RemoveAbandoned(string directory)
    {
        try
        {
            foreach (string path in Directory.EnumerateFiles(directory, $"{Prefix}*{Suffix}"))
                RemoveIfAbandoned(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // The directory is gone or closed to us; so is what would be in it.
        }
    }

    /// <summary>Writes a part of it.</summary>
    /// <exception cref="TransferException">It can't be written, for example because the disk is full.</exception>
    public async Task WriteAsync(ReadOnlyMemory<byte> bytes, long offset, CancellationToken cancellationToken)
    {
        try
        {
            await RandomAccess.WriteAsync(_handle, bytes, offset, cancellationToken);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"Writing to '{_directory}' failed at {offset} bytes: {e.Message}", e);
        }
        catch (ArgumentOutOfRangeException e)
        {
            // What .NET makes of EFBIG: a file system or a limit (ulimit -f) that takes no longer files.
            throw new TransferException($"Writing to '{_directory}' failed at {offset} bytes: a file may not be longer there.", e);
        }
    }

    /// <summary>Says early what <see cref="Commit"/> would say late.</summary>
    /// <exception cref="TransferException">It can't have that name.</exception>
    public void CheckName(string name, bool overwrite)
    {
        string path = Path.Combine(_directory, name);
        if (Directory.Exists(path))
            throw new TransferException($"There is a directory '{path}'; no file can have its name.");
        if (!overwrite && File.Exists(path))
            throw new TransferException($"There is a file '{path}' already; --overwrite lets a received one take its place.");
    }

    /// <summary>Gives it its name.</summary>
    /// <param name="name">A name without directories.</param>
    /// <param name="overwrite">It may take the place of another file.</param>
    /// <returns>The full path.</returns>
    /// <exception cref="TransferException">It can't have that name.</exception>
    public string Commit(string name, bool overwrite)
    {
        CheckName(name, overwrite);
        string path = Path.Combine(_directory, name);
        try
        {
            // Windows renames no open file. Elsewhere the lock keeps others off until it has its name.
            if (OperatingSystem.IsWindows())
                _handle.Dispose();
            File.Move(_path, path, overwrite);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"The received file can't be named '{path}': {e.Message}", e);
        }
        _committed = true;
        return path;
    }

    /// <summary>Closes it, and removes it unless it has its name.</summary>
    public void Dispose()
    {
        _handle.Dispose();
        if (!_committed)
            TryDelete(_path);
    }

    private static void RemoveIfAbandoned(string path)
    {
        try
        {
            using (File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None))
            {
                // Nobody else has it open.
            }
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody writes it.
        }
    }

    private static void TryDelete(string path)
    {
        try
        {
            File.Delete(path);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Nothing else can be done here; the next receiver in this directory tries again.
        }
    }
}
