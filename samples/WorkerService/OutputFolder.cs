using System.Security.Cryptography;
using System.Text;
using Microsoft.Win32.SafeHandles;

namespace WorkerService;

/// <summary>Where a received file is kept. A temporary directory of our own is removed unless something was kept in it.</summary>
internal sealed class OutputFolder : IDisposable
{
    private const string Prefix = ".alloctools-";
    private bool _removed;

    private OutputFolder(string path, bool isTemporary)
    {
        FullPath = path;
        _removed = !isTemporary;
    }

    /// <summary>The full path.</summary>
    public string FullPath { get; }

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
        catch (FileNotFoundException e)
        {
            // What .NET makes of ENOENT, with a message on a file.
            throw new TransferException($"The output directory '{directory}' can't be made there.", e);
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            throw new TransferException($"The output directory '{directory}' can't be used: {e.Message}", e);
        }
    }

    /// <summary>The file is there: the directory stays.</summary>
    public void Keep() => _removed = true;

    /// <summary>How much of a file is kept in a directory to be resumed.</summary>
    public static long KeptBytes(string directory, string fileName, long length, long changed)
    {
        long kept = 0;
        Try(() => kept = new FileInfo(Path.Combine(directory, Part.ResumableName(fileName, length, changed))) is { Exists: true } part ? part.Length : 0);
        return kept;
    }

    /// <summary>Removes what nothing was kept in: a temporary directory, or the part of a file that a killed receiver left.</summary>
    public void Dispose()
    {
        RemoveAbandoned(FullPath);
        if (!_removed)
            Try(() => Directory.Delete(FullPath, recursive: true));
        _removed = true;
    }

    private static void RemoveAbandoned(string directory) => Try(() =>
    {
        foreach (string path in Directory.EnumerateFiles(directory, $"{Prefix}*.part"))
        {
            Try(() =>
            {
                // Whoever writes it has it locked.
                File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
                File.Delete(path);
            });
        }
    });

    /// <summary>What fails here is left to the next receiver in this directory.</summary>
    private static void Try(Action action)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException)
        {
            // Somebody writes there, or the directory is gone.
        }
    }

    /// <summary>A file that is being received: under a name of our own until all of it is there and right.</summary>
    /// <remarks>
    /// It is locked (flock(2)) as long as somebody writes it, so that one that a killed receiver left behind can be told from one that another receiver is at.
    /// One that may be resumed has the source's name (its hash), length and time in its own. It is written in order, so its length is what has come.
    /// </remarks>
    public sealed class Part : IDisposable
    {
        private readonly string _directory;
        private readonly string _path;
        private readonly SafeFileHandle _handle;
        private readonly bool _isResumable;
        private bool _removes = true;

        /// <summary>Makes one, or opens what an earlier transfer of the same file has left, where that is wanted. What an earlier receiver left otherwise is removed.</summary>
        /// <exception cref="TransferException">Nothing can be written there, or what was left is of another state of the source.</exception>
        public Part(string directory, Offer file, TransferOptions options)
        {
            _directory = directory;
            _isResumable = options.Resume;
            CheckName(file.Name, options.Overwrite);
            RemoveAbandoned(directory);
            _path = Path.Combine(directory, _isResumable ? ResumableName(file.Name, file.Length, file.Changed) : $"{Prefix}{Guid.NewGuid():N}.part");
            try
            {
                if (_isResumable && !File.Exists(_path) && Directory.EnumerateFiles(directory, $"{ResumablePrefix(file.Name)}-*.resume").FirstOrDefault() is { } other)
                    throw new TransferException($"'{file.Name}' has changed since a part of it came, which is kept as '{other}'; remove that to begin anew.");
                _handle = File.OpenHandle(_path, _isResumable ? FileMode.OpenOrCreate : FileMode.CreateNew, FileAccess.ReadWrite, FileShare.None);
                Start = Math.Min(RandomAccess.GetLength(_handle), file.Length);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new TransferException($"The output directory '{directory}' can't be written to: {e.Message}", e);
            }
        }

        /// <summary>What a part of a file is called that may be resumed.</summary>
        public static string ResumableName(string fileName, long length, long changed) => $"{ResumablePrefix(fileName)}-{length}-{changed}.resume";

        /// <summary>How much of the file has come before.</summary>
        public long Start { get; }

        /// <summary>Reads what has come before.</summary>
        public int Read(Span<byte> bytes, long offset) => RandomAccess.Read(_handle, bytes, offset);

        /// <summary>Writes what is next.</summary>
        /// <exception cref="TransferException">It can't be written, for example because the disk is full.</exception>
        public void Write(ReadOnlySpan<byte> bytes, long offset)
        {
            try
            {
                RandomAccess.Write(_handle, bytes, offset);
            }
            catch (Exception e) when (e is IOException or UnauthorizedAccessException)
            {
                throw new TransferException($"Writing to '{_directory}' failed at {offset} bytes: {e.Message.Replace(" : ", ": ", StringComparison.Ordinal)}", e);
            }
            catch (ArgumentOutOfRangeException e)
            {
                // What .NET makes of EFBIG: a file system or a limit (ulimit -f) that takes no longer files.
                throw new TransferException($"Writing to '{_directory}' failed at {offset} bytes: a file may not be longer there.", e);
            }
        }

        /// <summary>Gives it its name.</summary>
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
            _removes = false;
            return path;
        }

        /// <summary>The next transfer may go on with it.</summary>
        public void KeepToResume() => _removes = !_isResumable;

        /// <summary>Closes it, and removes it unless it has its name or is kept.</summary>
        public void Dispose()
        {
            bool isEmpty = !_handle.IsClosed && RandomAccess.GetLength(_handle) == 0;
            _handle.Dispose();
            if (_removes || (isEmpty && _isResumable))
                Try(() => File.Delete(_path));
        }

        private static string ResumablePrefix(string fileName) => $"{Prefix}{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(fileName)).AsSpan(0, 12))}";

        private void CheckName(string name, bool overwrite)
        {
            string path = Path.Combine(_directory, name);
            if (Directory.Exists(path))
                throw new TransferException($"There is a directory '{path}'; no file can have its name.");
            if (!overwrite && File.Exists(path))
                throw new TransferException($"There is a file '{path}' already; --overwrite lets a received one take its place.");
        }
    }
}
