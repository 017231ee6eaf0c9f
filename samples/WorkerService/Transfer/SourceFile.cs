using System.Runtime.InteropServices;
using WorkerService.Protocol;

namespace WorkerService.Transfer;

/// <summary>The file to send, open.</summary>
internal sealed class SourceFile : IDisposable
{
    private readonly Microsoft.Win32.SafeHandles.SafeFileHandle _handle;

    private SourceFile(string path)
    {
        Name = Path.GetFileName(path);
        _handle = File.OpenHandle(path, options: FileOptions.SequentialScan | FileOptions.Asynchronous);
        Length = RandomAccess.GetLength(_handle);
    }

    /// <summary>Its name, without directories.</summary>
    public string Name { get; }

    /// <summary>How long it was when it was opened, in bytes. So much is sent.</summary>
    public long Length { get; }

    /// <summary>Opens a file, or the largest one of the .NET installation.</summary>
    /// <exception cref="TransferException">It can't be read; the message says why.</exception>
    public static async Task<SourceFile> OpenAsync(string? path, TimeSpan timeout, CancellationToken cancellationToken)
    {
        string name = path ?? "";
        try
        {
            // Opening a pipe or a file of a server that is gone can take for ever.
            return await Task.Run(() => Open(name = string.IsNullOrEmpty(path) ? FindLargest() : path), cancellationToken).WaitAsync(timeout, cancellationToken);
        }
        catch (TimeoutException)
        {
            throw new TransferException($"Opening '{name}' took longer than {timeout.TotalSeconds:0.#} s.");
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new TransferException($"'{name}' can't be read: {e.Message}", e);
        }
    }

    /// <summary>Fills memory from a place in the file.</summary>
    /// <exception cref="TransferException">It can't be read, or is shorter by now.</exception>
    public async Task ReadAsync(Memory<byte> destination, long offset, CancellationToken cancellationToken)
    {
        try
        {
            while (!destination.IsEmpty)
            {
                int count = await RandomAccess.ReadAsync(_handle, destination, offset, cancellationToken);
                if (count == 0)
                    throw new TransferException($"'{Name}' ends at {offset} bytes; it had {Length} when the transfer began.");
                destination = destination[count..];
                offset += count;
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"Reading '{Name}' failed: {e.Message}", e);
        }
    }

    public void Dispose() => _handle.Dispose();

    private static SourceFile Open(string path)
    {
        if (Directory.Exists(path))
            throw new TransferException($"'{path}' is a directory, not a file.");
        if (!File.Exists(path))
            throw new TransferException($"There is no file '{path}'.");
        if (FileName.FindError(Path.GetFileName(path)) is { } error)
            throw new TransferException($"'{path}' can't be sent: its name {error}.");
        return new SourceFile(path);
    }

    private static string FindLargest()
    {
        // .../dotnet/shared/Microsoft.NETCore.App/10.0.0/; a self-contained program has its runtime beside it.
        var runtime = new DirectoryInfo(RuntimeEnvironment.GetRuntimeDirectory());
        DirectoryInfo root = runtime.Parent?.Parent is { Name: "shared", Parent: { } installation } ? installation : runtime;
        var everything = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        return root.EnumerateFiles("*", everything).MaxBy(f => f.Length)?.FullName
            ?? throw new TransferException($"There is no file below '{root.FullName}'; name one with --file.");
    }
}
