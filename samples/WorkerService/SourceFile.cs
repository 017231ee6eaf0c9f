using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace WorkerService;

/// <summary>The state of a file; Changed is the time of its last write, in ticks.</summary>
internal sealed record FileState(string Name, long Length, long Changed);

/// <summary>An open file that is read, such as the one to send. Only the length that it had when it was opened is sent.</summary>
internal sealed record SourceFile(SafeFileHandle Handle, FileState State) : IDisposable
{
    /// <summary>Opens the file to send: by default, the largest one beside the program.</summary>
    public static async Task<SourceFile> OpenAsync(TransferOptions options)
    {
        string path = options.File.Length > 0 ? options.File : new DirectoryInfo(AppContext.BaseDirectory).EnumerateFiles().MaxBy(f => f.Length)!.FullName;
        if (Directory.Exists(path) || !File.Exists(path))
            throw new TransferException(Directory.Exists(path) ? $"'{path}' is a directory, not a file." : $"There is no file '{path}'.");
        if (!IsNameRight(Path.GetFileName(path)))
            throw new TransferException($"'{path}' can't be sent: not every system accepts its name (separators, control characters, more than 255 bytes).");
        try
        {
            // Opening a pipe, or a file on a server that does not answer, may never return.
            Task<SafeFileHandle> opening = Task.Run(() => File.OpenHandle(path, options: FileOptions.SequentialScan));
            SafeFileHandle handle = await opening.InTimeAsync(options.Timeout, $"Opening '{path}' took longer than {options.Timeout} s.", CancellationToken.None);
            return new SourceFile(handle, new FileState(Path.GetFileName(path), RandomAccess.GetLength(handle), File.GetLastWriteTimeUtc(handle).Ticks));
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or NotSupportedException)
        {
            throw new TransferException($"'{path}' can't be read: {e.Message}", e);
        }
    }

    /// <summary>Whether a file name from the network names a file directly in the output directory, on any system.</summary>
    public static bool IsNameRight(string? name) =>
        name is not (null or "" or "." or "..") && !name.AsSpan().ContainsAny('/', '\\', ':') && !name.Any(char.IsControl)
        && !name.AsSpan().ContainsAny(Path.GetInvalidFileNameChars()) && Encoding.UTF8.GetByteCount(name) <= 255;

    /// <summary>Fills memory with the bytes at an offset in the file.</summary>
    public void Read(Span<byte> destination, long offset)
    {
        try
        {
            for (int count; !destination.IsEmpty; destination = destination[count..], offset += count)
            {
                if ((count = RandomAccess.Read(Handle, destination, offset)) == 0)
                    throw new TransferException($"'{State.Name}' ends at {offset} bytes; it had {State.Length} when the transfer began.");
            }
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"Reading '{State.Name}' failed: {e.Message}", e);
        }
    }

    /// <summary>Fails if the file has changed since it was opened, because the bytes that were read may be a mixture.</summary>
    public void CheckUnchanged()
    {
        if (RandomAccess.GetLength(Handle) != State.Length || File.GetLastWriteTimeUtc(Handle).Ticks != State.Changed)
            throw new TransferException($"'{State.Name}' was changed while it was being sent.");
    }

    /// <summary>Hashes the part that was sent before.</summary>
    public void HashStart(long length, IncrementalHash hash, CancellationToken cancellationToken)
    {
        byte[] buffer = new byte[1 << 20];
        for (long offset = 0; offset < length; offset += buffer.Length)
        {
            cancellationToken.ThrowIfCancellationRequested();
            Span<byte> part = buffer.AsSpan(0, (int)Math.Min(buffer.Length, length - offset));
            Read(part, offset);
            hash.AppendData(part);
        }
    }

    public void Dispose() => Handle.Dispose();
}
