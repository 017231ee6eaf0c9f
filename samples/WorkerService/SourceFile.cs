using System.Runtime.InteropServices;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace WorkerService;

/// <summary>The file to send, open.</summary>
internal sealed class SourceFile : IDisposable
{
    private readonly SafeFileHandle _handle;

    private SourceFile(string path)
    {
        Name = Path.GetFileName(path);
        _handle = File.OpenHandle(path, options: FileOptions.SequentialScan);
        Length = RandomAccess.GetLength(_handle);
        Changed = File.GetLastWriteTimeUtc(_handle).Ticks;
    }

    /// <summary>Its name, without directories.</summary>
    public string Name { get; }

    /// <summary>How long it was when it was opened, in bytes. So much is sent.</summary>
    public long Length { get; }

    /// <summary>When it was written last.</summary>
    public long Changed { get; }

    /// <summary>Opens a file, or the largest one of the .NET installation.</summary>
    /// <exception cref="TransferException">It can't be read; the message says why.</exception>
    public static async Task<SourceFile> OpenAsync(string? path, TimeSpan timeout)
    {
        string name = path ?? "";
        try
        {
            // Opening a pipe or a file of a server that is gone can take for ever.
            return await Task.Run(() => Open(name = string.IsNullOrEmpty(path) ? FindLargest() : path)).WaitAsync(timeout);
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

    /// <summary>What is wrong with the name of a file on its way, which must name one right in the output directory, on any system; null where nothing is.</summary>
    public static string? FindError(string? name) =>
        string.IsNullOrEmpty(name) ? "is empty"
        : name is "." or ".." ? "is a directory"
        : name.AsSpan().ContainsAny('/', '\\', ':') ? "has a separator in it"
        : name.Any(char.IsControl) ? "has a control character in it"
        : name.AsSpan().ContainsAny(Path.GetInvalidFileNameChars()) ? "has a character in it that this system doesn't take"
        : Encoding.UTF8.GetByteCount(name) > 255 ? "is longer than 255 bytes"
        : null;

    /// <summary>Fills memory from a place in the file.</summary>
    /// <exception cref="TransferException">It can't be read, or is shorter by now.</exception>
    public void Read(Span<byte> destination, long offset)
    {
        try
        {
            for (int count; !destination.IsEmpty; destination = destination[count..], offset += count)
            {
                count = RandomAccess.Read(_handle, destination, offset);
                if (count == 0)
                    throw new TransferException($"'{Name}' ends at {offset} bytes; it had {Length} when the transfer began.");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"Reading '{Name}' failed: {e.Message}", e);
        }
    }

    public void Dispose() => _handle.Dispose();

    private static SourceFile Open(string path) =>
        Directory.Exists(path) ? throw new TransferException($"'{path}' is a directory, not a file.")
        : !File.Exists(path) ? throw new TransferException($"There is no file '{path}'.")
        : FindError(Path.GetFileName(path)) is { } error ? throw new TransferException($"'{path}' can't be sent: its name {error}.")
        : new SourceFile(path);

    private static string FindLargest()
    {
        // .../dotnet/shared/Microsoft.NETCore.App/10.0.0/; a self-contained program has its runtime beside it.
        var runtime = new DirectoryInfo(RuntimeEnvironment.GetRuntimeDirectory());
        DirectoryInfo root = runtime.Parent?.Parent is { Name: "shared", Parent: { } installation } ? installation : runtime;
        var everything = new EnumerationOptions { RecurseSubdirectories = true, IgnoreInaccessible = true, AttributesToSkip = FileAttributes.ReparsePoint };
        return root.EnumerateFiles("*", everything).MaxBy(f => f.Length)?.FullName ?? throw new TransferException($"There is no file below '{root.FullName}'; name one with --file.");
    }
}
