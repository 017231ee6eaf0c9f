using System.Security.Cryptography;
using System.Text;

namespace WorkerService;

/// <summary>Where a received file is kept: the directory that was asked for, or a temporary one of our own, which is removed unless something was kept in it.</summary>
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

    /// <summary>How much of a file is kept here to be resumed.</summary>
    public long KeptBytes(FileState file) => new FileInfo(ResumablePath(file)) is { Exists: true } part ? part.Length : 0;

    /// <summary>Removes the part of a file that a killed receiver left, and a temporary directory in which there is nothing.</summary>
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
        // Whoever writes it has it locked.
        File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None).Dispose();
        File.Delete(path);
    })));

    /// <summary>Does something whose failure is reported as that of <paramref name="what"/>, or, without it, is left to the next receiver in this directory.</summary>
    private static void Try(Action action, string? what = null)
    {
        try
        {
            action();
        }
        catch (Exception e) when (e is IOException or UnauthorizedAccessException or ArgumentOutOfRangeException)
        {
            // The last is what .NET makes of EFBIG: a file system or a limit (ulimit -f) that takes no longer files.
            string why = e is ArgumentOutOfRangeException ? "it does not allow files of this length."
                : e is FileNotFoundException or DirectoryNotFoundException ? "it can't be created there."
                : e.Message.Replace(" : ", ": ", StringComparison.Ordinal);
            if (what is not null)
                throw new TransferException($"{what}: {why}", e);
        }
    }

    /// <summary>A file that is being received: under a name of our own until all of it is there and right.</summary>
    /// <remarks>
    /// It is locked (flock(2)) as long as somebody writes it, so that one that a killed receiver left behind can be told from one that another receiver is at.
    /// One that may be resumed has the source's name (its hash), length and time in its own. It is written in order, so its length is what has come.
    /// </remarks>
    public sealed class Part : IDisposable
    {
        private readonly OutputFolder _folder;
        private readonly TransferOptions _options;
        private readonly string _path, _finalPath;

        /// <summary>Makes one, or opens what an earlier transfer of the same file has left, where that is wanted. What a killed receiver left otherwise is removed.</summary>
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

        /// <summary>How much of the file has come before.</summary>
        public long Start { get; }

        /// <summary>It has other bytes than the source, and can't be resumed.</summary>
        public bool IsWrong { get; set; }

        /// <summary>Writes what is next.</summary>
        /// <returns>How many bytes.</returns>
        public int Write(ReadOnlyMemory<byte> bytes, long offset)
        {
            Try(() => RandomAccess.Write(Content.Handle, bytes.Span, offset), $"Writing to '{_folder.FullPath}' failed at {offset} bytes");
            return bytes.Length;
        }

        /// <summary>Gives it its name, once its bytes are on the disk.</summary>
        /// <returns>The full path.</returns>
        public string Commit()
        {
            CheckName();
            Try(() => RandomAccess.FlushToDisk(Content.Handle), $"Writing to '{_folder.FullPath}' failed");
            Try(() => File.Move(_path, _finalPath, _options.Overwrite), $"The received file can't be named '{_finalPath}'");
            return _finalPath;
        }

        /// <summary>Closes it, and removes it unless it has its name or may be resumed.</summary>
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
