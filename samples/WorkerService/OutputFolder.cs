using System.Security.Cryptography;
using System.Text;

namespace WorkerService;

/// <summary>The directory of received files: the requested one, or a temporary one, which is removed unless something was kept in it.</summary>
internal sealed class OutputFolder : IDisposable
{
    private const string Prefix = ".alloctools-";
    private readonly bool _isTemporary;

    public OutputFolder(string directory)
    {
        _isTemporary = directory.Length == 0;
        Try(
            () => FullPath = (_isTemporary ? Directory.CreateTempSubdirectory("alloctools-") : Directory.CreateDirectory(directory)).FullName,
            $"The output directory '{directory}' can't be used");
    }

    public string FullPath { get; private set; } = "";

    /// <summary>Returns how many bytes of a file are kept here to be resumed.</summary>
    public long KeptBytes(FileState file) => new FileInfo(ResumablePath(file)) is { Exists: true } part ? part.Length : 0;

    /// <summary>Removes the parts of files that killed receivers have left, and the temporary directory if it is empty.</summary>
    public void Dispose()
    {
        RemoveAbandoned();
        if (_isTemporary)
            Try(() => Directory.Delete(FullPath));
    }

    private static string ResumablePrefix(FileState file) => $"{Prefix}{Convert.ToHexStringLower(SHA256.HashData(Encoding.UTF8.GetBytes(file.Name)).AsSpan(0, 12))}";

    /// <summary>The name of the part of a file that is kept to be resumed.</summary>
    public static string ResumableName(FileState file) => $"{ResumablePrefix(file)}-{file.Length}-{file.Changed}.resume";

    private string ResumablePath(FileState file) => Path.Combine(FullPath, ResumableName(file));

    private void RemoveAbandoned() => Try(() => Array.ForEach(Directory.GetFiles(FullPath, $"{Prefix}*.part"), path => Try(() =>
    {
        // This fails if a receiver is still writing the file, because it holds a lock.
        File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
        File.Delete(path);
    })));

    /// <summary>
    /// Performs an action. A failure is reported as that of <paramref name="what"/>; without it, it is ignored, and
    /// left to the next receiver in this directory.
    /// </summary>
    private static void Try(Action action, string? what = null)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            // .NET reports EFBIG as ArgumentOutOfRangeException: a file system or a limit (ulimit -f) does not allow
            // longer files.
            string why = e is ArgumentOutOfRangeException ? "it does not allow files of this length."
                : e is FileNotFoundException or DirectoryNotFoundException ? "it can't be created there."
                : e.Message.Replace(" : ", ": ", StringComparison.Ordinal);
            if (what is not null)
                throw new TransferException($"{what}: {why}", e);
        }
    }

    /// <summary>A file that is being received: it has a temporary name until it is complete and correct.</summary>
    /// <remarks>
    /// It is locked (flock(2)) while it is being written, so that a part that a killed receiver left behind can be
    /// distinguished from one that another receiver is still writing. The name of a resumable part contains the
    /// source's name (as a hash), length and time. It is written in order, so its length is the number of received
    /// bytes.
    /// </remarks>
    public sealed class Part : IDisposable
    {
        private readonly OutputFolder _folder;
        private readonly TransferOptions _options;
        private readonly string _path, _finalPath;

        /// <summary>
        /// Creates a part, or opens the one that an earlier transfer of the same file has left if that is requested.
        /// Other parts that killed receivers have left are removed.
        /// </summary>
        public Part(OutputFolder folder, FileState file, TransferOptions options)
        {
            (_folder, _options, _finalPath) = (folder, options, Path.Combine(folder.FullPath, file.Name));
            _path = options.Resume ? folder.ResumablePath(file) : Path.Combine(folder.FullPath, $"{Prefix}{Guid.NewGuid():N}.part");
            CheckName();
            folder.RemoveAbandoned();
            if (options.Resume && !File.Exists(_path) && Directory.GetFiles(folder.FullPath, $"{ResumablePrefix(file)}-*.resume") is [var other, ..])
                throw new TransferException($"'{file.Name}' has changed since a part of it was received, which is kept as '{other}'; remove that to start over.");
            FileMode mode = options.Resume ? FileMode.OpenOrCreate : FileMode.CreateNew;
            Try(
                () => Content = new SourceFile(File.OpenHandle(_path, mode, FileAccess.ReadWrite, FileShare.None), file),
                $"The output directory '{folder.FullPath}' can't be written to");
            Start = RandomAccess.GetLength(Content.Handle);
            if (Start <= file.Length)
                return;
            Content.Dispose();
            throw new TransferException($"'{Path.GetFileName(_path)}' has {Start} bytes, but the file has only {file.Length}; remove it to start over.");
        }

        public SourceFile Content { get; private set; } = null!;

        /// <summary>How much of the file was received by an earlier transfer.</summary>
        public long Start { get; }

        /// <summary>Whether its bytes differ from the source, so that it can't be resumed.</summary>
        public bool IsWrong { get; set; }

        /// <summary>Writes the next bytes.</summary>
        /// <returns>The number of bytes.</returns>
        public int Write(ReadOnlyMemory<byte> bytes, long offset)
        {
            Try(() => RandomAccess.Write(Content.Handle, bytes.Span, offset), $"Writing to '{_folder.FullPath}' failed at {offset} bytes");
            return bytes.Length;
        }

        /// <summary>Gives the file its final name, once its bytes are on the disk.</summary>
        /// <returns>The full path.</returns>
        public string Commit()
        {
            CheckName();
            Try(() => RandomAccess.FlushToDisk(Content.Handle), $"Writing to '{_folder.FullPath}' failed");
            Try(() => File.Move(_path, _finalPath, _options.Overwrite), $"The received file can't be named '{_finalPath}'");
            return _finalPath;
        }

        /// <summary>Closes the part, and removes it unless it has its final name or may be resumed.</summary>
        public void Dispose()
        {
            bool isKept = _options.Resume && !IsWrong && RandomAccess.GetLength(Content.Handle) > 0;
            Content.Dispose();
            if (!isKept)
                Try(() => File.Delete(_path));
        }

        private void CheckName()
        {
            if (Directory.Exists(_finalPath))
                throw new TransferException($"There is a directory '{_finalPath}'; no file can have its name.");
            if (!_options.Overwrite && File.Exists(_finalPath))
                throw new TransferException($"There is a file '{_finalPath}' already; --overwrite lets a received one replace it.");
        }
    }
}
