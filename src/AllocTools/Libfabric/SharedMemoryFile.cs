using System.Globalization;
using System.Text;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace AllocTools.Libfabric;

/// <summary>The file in /dev/shm of an shm endpoint, through which its peers reach it.</summary>
/// <remarks>
/// The file loses its name when the endpoint is closed; a process that is killed leaves it. Whether a file is still in
/// use is shown by a lock (flock(2)) that its process holds while the endpoint is open, and that the kernel releases
/// when the process ends: unlike a process id, it never belongs to another process, and has the same meaning in every
/// container that shares /dev/shm. Only files with <see cref="Prefix"/> and <see cref="LockedMark"/> in their names are
/// locked; for other files no conclusion is drawn. Opening, locking and removing hold a lock on /dev/shm itself, so
/// that a file that is not locked yet is never mistaken for one that is no longer locked. Any process may hold that
/// lock for any time: without it an endpoint still opens, but no files are removed.
/// </remarks>
internal sealed class SharedMemoryFile : IDisposable
{
    private const string Folder = "/dev/shm";
    private const string Prefix = "alloctools-";
    private const char LockedMark = 'l';
    private const string AddressScheme = "fi_shm://";

    /// <summary>
    /// The memory of an endpoint with queues of the default sizes (libfabric 1.17): a file of 16 MiB, of which 3.75 MiB
    /// are written immediately.
    /// </summary>
    private const long Length = 16L << 20;

    private static readonly TimeSpan FolderLockTime = TimeSpan.FromSeconds(5);

    private readonly SafeFileHandle _locked;

    private SharedMemoryFile(SafeFileHandle locked, string path, Doorbell? bell)
    {
        _locked = locked;
        FullName = path;
        Bell = bell;
    }

    /// <summary>The path of the file.</summary>
    public string FullName { get; }

    /// <summary>The doorbell by which peers wake the endpoint's thread; null if they can't.</summary>
    public Doorbell? Bell { get; }

    /// <summary>Returns a name for a context's endpoints that no process has used before.</summary>
    public static string NewName() => $"{Prefix}{Environment.ProcessId}-{LockedMark}{Guid.NewGuid():N}";

    /// <summary>Opens an endpoint, if there is space for its file, and keeps the file locked.</summary>
    /// <param name="enable">Enables the endpoint, which creates the file; it throws on failure.</param>
    /// <param name="address">The endpoint's address.</param>
    /// <param name="mayWait">Whether to wait for the lock on the folder; otherwise the call fails while another process holds it.</param>
    /// <param name="logger">The log for removed files.</param>
    /// <returns>The locked file; null if this version of libfabric keeps no such file.</returns>
    /// <exception cref="RmaProviderException">There is no space, the file can't be locked, or the folder's lock is held.</exception>
    public static SharedMemoryFile? Make(Action enable, ReadOnlySpan<byte> address, bool mayWait, ILogger logger)
    {
        using SafeFileHandle? folder = LockFolder(mayWait ? FolderLockTime : TimeSpan.Zero);
        if (folder is null && !mayWait)
            throw new RmaProviderException($"Another process holds the lock on {Folder}.", FiErrno.FI_EAGAIN, nameof(FiErrno.FI_EAGAIN)) { IsTransient = true };
        if (folder is not null && Free < Length)
            RemoveDead_NeedsLock(logger);
        if (Free < Length)
            throw NoRoom();
        enable();
        string path = PathOf(address);
        SafeFileHandle? file = FileLocks.OpenForWriting(path, out int error);
        if (file is null)
            return error == FileLocks.NotThere ? null : throw new RmaProviderException($"The endpoint's file {path} can't be opened: {SystemErrors.NameOf(error)}.", error, SystemErrors.NameOf(error));
        bool isDone = false;
        try
        {
            // Unless peers copy through the kernel, they copy through this file, and access to pages for which /dev/shm
            // has no space causes SIGBUS.
            if (!KernelCopies.ArePermitted && FileLocks.Allocate(file, RandomAccess.GetLength(file)) == FileLocks.NoSpace)
                throw NoRoom();
            // A process that removes files without the folder's lock, as earlier versions do, may have locked this file or already removed it.
            if (!FileLocks.TryLock(file) || FileLocks.OwnerOf(path) is null)
                throw new RmaProviderException($"The endpoint's file {path} can't be locked: another process mistook it for the file of a process that has ended.", FiErrno.FI_EAGAIN, nameof(FiErrno.FI_EAGAIN)) { IsTransient = true };
            isDone = true;
            return new SharedMemoryFile(file, path, Doorbell.Append(file));
        }
        finally
        {
            if (!isDone)
                file.Dispose();
        }
    }

    /// <summary>Removes the files of processes that have ended. Removes none if the folder can't be locked.</summary>
    public static void RemoveDead(ILogger logger)
    {
        if (!Directory.Exists(Folder))
            return;
        using SafeFileHandle? folder = LockFolder(FolderLockTime);
        if (folder is not null)
            RemoveDead_NeedsLock(logger);
    }

    /// <summary>Explains why libfabric may not offer shm although it supports it; empty if /dev/shm has enough space.</summary>
    public static string ExplainAbsence()
    {
        // libfabric requires as much space as one endpoint for each processor would take.
        long needed = Length * ConfiguredProcessors;
        return !Directory.Exists(Folder) ? $" There is no {Folder}, which shm needs."
            : Free < needed ? $" {Describe()}; libfabric 1.17 offers shm only while {InWords.About(needed)} are free, {InWords.About(Length)} for each of the machine's {ConfiguredProcessors} processors. {HowToEnlarge}{DescribeOthers()}"
            : "";
    }

    /// <summary>Opens a peer's file, and refuses a peer that does not exist, or belongs to another user.</summary>
    /// <param name="address">The peer's address.</param>
    /// <param name="own">The endpoint that will use it, among those of this process.</param>
    /// <exception cref="RmaProviderException">The peer can't be reached from here.</exception>
    public static PeerFile OpenPeer(ReadOnlySpan<byte> address, InProcessPeers own)
    {
        string path = PathOf(address);
        if (Path.GetDirectoryName(path) != Folder)
            throw new RmaProviderException($"The peer's address is not an address of shm: '{path}' is not a file in {Folder}. Pass the peer endpoint's Address as it is.", FiErrno.FI_EINVAL, nameof(FiErrno.FI_EINVAL));
        // An endpoint of this process that is closed meanwhile must not be passed to libfabric, which assumes that it exists.
        if (FileLocks.OwnerOf(path) is not { } owner || (!own.TryMeet(path) && FileLocks.OwnerOf(path) is null))
            throw new RmaProviderException($"The peer can't be reached: its file {path} does not exist. Its endpoint is closed, or it sees another {Folder} than this process; containers must share it.", FileLocks.NotThere, nameof(FiErrno.FI_ENOENT)) { IsTransient = true };
        uint user = FileLocks.CurrentUser;
        // libfabric 1.17 opens this process's file in the peer at the first write; a peer that has no permission crashes with SIGSEGV.
        if (owner != user)
            throw new RmaProviderException($"The peer can't be reached: its file {path} belongs to user {owner}, and this process runs as user {user}. Processes reach each other by shm only as the same user; that includes root.", FiErrno.FI_EACCES, nameof(FiErrno.FI_EACCES));
        return new PeerFile(
            FileLocks.OpenForWriting(path, out int error) ?? throw new RmaProviderException($"The peer can't be reached: its file {path} can't be opened: {SystemErrors.NameOf(error)}.", error, SystemErrors.NameOf(error)) { IsTransient = true },
            path,
            IsMarked(Path.GetFileName(path)));
    }

    /// <summary>Shows peers that the endpoint is closed, although libfabric may keep it open for a while. This must not throw.</summary>
    public void Dispose()
    {
        if (_locked.IsClosed)
            return;
        // The name is removed first: a file with a name but without a lock belongs to a process that has ended.
        FileLocks.Remove(FullName);
        FileLocks.Release(_locked);
        _locked.Dispose();
    }

    private static long Free => new DriveInfo(Folder).AvailableFreeSpace;

    private static int ConfiguredProcessors => Directory.Exists("/sys/devices/system/cpu")
        ? Math.Max(1, Directory.EnumerateDirectories("/sys/devices/system/cpu", "cpu*").Count(static d => char.IsAsciiDigit(Path.GetFileName(d)[^1])))
        : Environment.ProcessorCount;

    private static string HowToEnlarge =>
        $"Make it larger: `--shm-size=1g` for docker run, an emptyDir volume of medium Memory at {Folder} in Kubernetes, `mount -o remount,size=1g {Folder}` as root.";

    private static RmaProviderException NoRoom() => new(
        $"{Describe()}; an endpoint of shm takes {InWords.About(Length)}. {HowToEnlarge}{DescribeOthers()}",
        FileLocks.NoSpace,
        nameof(FiErrno.FI_ENOSPC))
    {
        IsTransient = true,
    };

    private static string Describe() => $"{Folder} has a size of {InWords.About(new DriveInfo(Folder).TotalSize)}, of which {InWords.About(Free)} are free";

    /// <summary>Describes the files whose state this process can't determine.</summary>
    private static string DescribeOthers()
    {
        string[] others = [.. Directory.EnumerateFiles(Folder, $"{Prefix}*").Where(static f => FileLocks.OwnerOf(f) is { } owner && owner != FileLocks.CurrentUser)];
        return others.Length == 0 ? "" : $" {others.Length} files of other users are there, such as {others[0]}; those users or root can remove the files of processes that have ended.";
    }

    private static bool IsMarked(string name)
    {
        string[] parts = name.Split('-');
        return parts.Length == 3 && name.StartsWith(Prefix, StringComparison.Ordinal) && parts[2].StartsWith(LockedMark);
    }

    private static string PathOf(ReadOnlySpan<byte> address)
    {
        string text = Encoding.ASCII.GetString(address).TrimEnd('\0');
        return Path.Combine(Folder, text.StartsWith(AddressScheme, StringComparison.Ordinal) ? text[AddressScheme.Length..] : text);
    }

    /// <summary>The file of a peer, open from when it is inserted until it is removed.</summary>
    /// <remarks>
    /// This allows checking the lock instead of the name, which any program may remove while the process lives: `rm`,
    /// or systemd at the end of its user's session (RemoveIPC). For files that are not locked only the name can be
    /// checked, and it never shows that the process has ended. Any thread may call this.
    /// </remarks>
    internal sealed class PeerFile(SafeFileHandle file, string path, bool isMarked) : IDisposable
    {
        private readonly Lock _gate = new();

        /// <summary>The doorbell that wakes the peer's thread; null if the peer has none.</summary>
        public Doorbell? Bell { get; } = isMarked ? Doorbell.Find(file) : null;

        /// <summary>Whether the peer can no longer affect this process, because its process has ended or has closed its endpoint.</summary>
        public bool IsLetGo
        {
            get
            {
                lock (_gate)
                    return isMarked && !file.IsClosed && !FileLocks.IsLocked(file);
            }
        }

        /// <summary>Returns why the peer is lost, in words; null if it exists, or if that is unknown.</summary>
        public string? FindLoss()
        {
            if (isMarked && !IsLetGo)
                return null;
            return FileLocks.OwnerOf(path) is null ? "its endpoint was closed: its file in /dev/shm is gone"
                : isMarked ? "its process has ended"
                : null;
        }

        public void Dispose()
        {
            lock (_gate)
                file.Dispose();
        }
    }

    /// <summary>
    /// Locks the folder. Returns null if the folder can't be opened, or another process holds the lock for longer than the
    /// given time. Then the check of the space is only an estimate.
    /// </summary>
    private static SafeFileHandle? LockFolder(TimeSpan wait)
    {
        SafeFileHandle? folder = FileLocks.Open(Folder, out _);
        long start = Environment.TickCount64;
        while (folder is not null && !FileLocks.TryLock(folder))
        {
            if (Environment.TickCount64 - start >= wait.TotalMilliseconds)
            {
                folder.Dispose();
                return null;
            }
            Thread.Sleep(1);
        }
        return folder;
    }

    private static void RemoveDead_NeedsLock(ILogger logger)
    {
        int removed = 0;
        foreach (string path in Directory.EnumerateFiles(Folder, $"{Prefix}*"))
        {
            if (!IsMarked(Path.GetFileName(path)) || FileLocks.OwnerOf(path) != FileLocks.CurrentUser)
                continue;
            using SafeFileHandle? file = FileLocks.Open(path, out _);
            if (file is null || !FileLocks.TryLock(file))
                continue;
            File.Delete(path);
            removed++;
        }
        if (removed > 0)
            Log.SharedMemoryRemoved(logger, removed);
    }
}
