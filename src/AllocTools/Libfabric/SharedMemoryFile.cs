using System.Globalization;
using System.Text;
using AllocTools.Diagnostics;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using AllocTools.Validation;
using Microsoft.Extensions.Logging;
using Microsoft.Win32.SafeHandles;

namespace AllocTools.Libfabric;

/// <summary>The file in /dev/shm of an endpoint of shm, through which its peers reach it.</summary>
/// <remarks>
/// The file loses its name when the endpoint is closed; a process that is killed leaves it. Whose file is still in use
/// is told by a lock (flock(2)) that its process holds while the endpoint is open and that the kernel takes away when the
/// process ends: unlike a process id it is never somebody else's, and means the same in every container that shares
/// /dev/shm. Only files with <see cref="Prefix"/> and <see cref="LockedMark"/> in their names are locked; of others nothing
/// is concluded. Opening, locking and removing hold a lock on /dev/shm itself, so that a file that is not locked yet is
/// never taken for one that is not any more. Anybody may hold that lock for as long as they like: without it an endpoint
/// opens all the same, and nothing is removed.
/// </remarks>
internal sealed class SharedMemoryFile : IDisposable
{
    private const string Folder = "/dev/shm";
    private const string Prefix = "alloctools-";
    private const char LockedMark = 'l';
    private const string AddressScheme = "fi_shm://";

    /// <summary>What an endpoint takes, with the default sizes of its queues (libfabric 1.17): a file of 16 MiB, of which 3.75 are written to at once.</summary>
    private const long Length = 16L << 20;

    private static readonly TimeSpan FolderLockTime = TimeSpan.FromSeconds(5);

    private readonly SafeFileHandle _locked;

    private SharedMemoryFile(SafeFileHandle locked, string path, Doorbell? bell)
    {
        _locked = locked;
        FullName = path;
        Bell = bell;
    }

    /// <summary>Its path.</summary>
    public string FullName { get; }

    /// <summary>By which peers wake the endpoint's thread; null where they can't.</summary>
    public Doorbell? Bell { get; }

    /// <summary>A name for a context's endpoints that no process has had before.</summary>
    public static string NewName() => $"{Prefix}{Environment.ProcessId}-{LockedMark}{Guid.NewGuid():N}";

    /// <summary>Opens an endpoint, where there is room for its file, and keeps the file locked.</summary>
    /// <param name="enable">Enables it, which makes the file; throws where it can't.</param>
    /// <param name="address">The endpoint's address.</param>
    /// <param name="mayWait">Waits for the lock on the folder; else that is refused while another process holds it.</param>
    /// <param name="logger">Where to say what was removed.</param>
    /// <returns>The locked file; null where this libfabric keeps no such file.</returns>
    /// <exception cref="RmaProviderException">There is no room, the file can't be locked, or the folder's lock is held.</exception>
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
            // Where peers' copies don't go through the kernel they go through this file, and pages that /dev/shm has no room
            // for are a SIGBUS.
            if (!KernelCopies.ArePermitted && FileLocks.Allocate(file, RandomAccess.GetLength(file)) == FileLocks.NoSpace)
                throw NoRoom();
            // Who removes files without the folder's lock, as versions before this one do, has it locked, or has removed it.
            if (!FileLocks.TryLock(file) || FileLocks.OwnerOf(path) is null)
                throw new RmaProviderException($"The endpoint's file {path} can't be locked: another process took it for one of a process that has ended.", FiErrno.FI_EAGAIN, nameof(FiErrno.FI_EAGAIN)) { IsTransient = true };
            isDone = true;
            return new SharedMemoryFile(file, path, Doorbell.Append(file));
        }
        finally
        {
            if (!isDone)
                file.Dispose();
        }
    }

    /// <summary>Removes the files of processes that are gone; none where the folder can't be locked.</summary>
    public static void RemoveDead(ILogger logger)
    {
        if (!Directory.Exists(Folder))
            return;
        using SafeFileHandle? folder = LockFolder(FolderLockTime);
        if (folder is not null)
            RemoveDead_NeedsLock(logger);
    }

    /// <summary>Why libfabric may offer no shm though it has it; empty where /dev/shm has room enough.</summary>
    public static string ExplainAbsence()
    {
        // libfabric looks for as much as an endpoint for each processor would take.
        long needed = Length * ConfiguredProcessors;
        return !Directory.Exists(Folder) ? $" There is no {Folder}, which shm needs."
            : Free < needed ? $" {Describe()}; libfabric 1.17 offers shm only while {InWords.About(needed)} are free, {InWords.About(Length)} for each of the machine's {ConfiguredProcessors} processors. {HowToEnlarge}{DescribeOthers()}"
            : "";
    }

    /// <summary>Opens a peer's file, and refuses a peer that is not there, or is another user's.</summary>
    /// <param name="address">The peer's address.</param>
    /// <param name="own">The endpoint that is to reach it, among those of this process.</param>
    /// <exception cref="RmaProviderException">It can't be reached from here.</exception>
    public static PeerFile OpenPeer(ReadOnlySpan<byte> address, InProcessPeers own)
    {
        string path = PathOf(address);
        if (Path.GetDirectoryName(path) != Folder)
            throw new RmaProviderException($"The peer's address is none of shm's: '{path}' is no file of {Folder}. Pass the peer endpoint's Address as it is.", FiErrno.FI_EINVAL, nameof(FiErrno.FI_EINVAL));
        // One of this process that is closed meanwhile must not reach libfabric, which takes it to be there.
        if (FileLocks.OwnerOf(path) is not { } owner || (!own.TryMeet(path) && FileLocks.OwnerOf(path) is null))
            throw new RmaProviderException($"The peer can't be reached: its file {path} is not there. Its endpoint is closed, or it sees another {Folder} than this process; containers must share it.", FileLocks.NotThere, nameof(FiErrno.FI_ENOENT)) { IsTransient = true };
        uint user = FileLocks.CurrentUser;
        // libfabric 1.17 opens this process's file in the peer when it is first written to; a peer that may not ends by SIGSEGV.
        if (owner != user)
            throw new RmaProviderException($"The peer can't be reached: its file {path} belongs to user {owner}, and this process runs as user {user}. Processes reach each other by shm only as the same user; that includes root.", FiErrno.FI_EACCES, nameof(FiErrno.FI_EACCES));
        return new PeerFile(
            FileLocks.OpenForWriting(path, out int error) ?? throw new RmaProviderException($"The peer can't be reached: its file {path} can't be opened: {SystemErrors.NameOf(error)}.", error, SystemErrors.NameOf(error)) { IsTransient = true },
            path,
            IsMarked(Path.GetFileName(path)));
    }

    /// <summary>Peers see from now on that the endpoint is closed, though libfabric may have it a while longer. Must not throw.</summary>
    public void Dispose()
    {
        if (_locked.IsClosed)
            return;
        // The name goes first: a file with a name and without a lock is one of a process that has ended.
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

    /// <summary>Files that this process can't judge.</summary>
    private static string DescribeOthers()
    {
        string[] others = [.. Directory.EnumerateFiles(Folder, $"{Prefix}*").Where(static f => FileLocks.OwnerOf(f) is { } owner && owner != FileLocks.CurrentUser)];
        return others.Length == 0 ? "" : $" {others.Length} files of other users are there, such as {others[0]}; those whose process is gone are for them or root to remove.";
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
    /// So the lock is looked at and not the name, which anybody may remove while the process lives: `rm`, or systemd at the
    /// end of its user's session (RemoveIPC). Of files that are not locked only the name says anything, and never that the
    /// process has ended. Any thread may call this.
    /// </remarks>
    internal sealed class PeerFile(SafeFileHandle file, string path, bool isMarked) : IDisposable
    {
        private readonly Lock _gate = new();

        /// <summary>By which the peer's thread is woken; null where it has none.</summary>
        public Doorbell? Bell { get; } = isMarked ? Doorbell.Find(file) : null;

        /// <summary>Nothing of the peer reaches this process any more: its process has ended, or has closed its endpoint.</summary>
        public bool IsLetGo
        {
            get
            {
                lock (_gate)
                    return isMarked && !file.IsClosed && !FileLocks.IsLocked(file);
            }
        }

        /// <summary>Why the peer is lost, in words; null where it is there, or nothing tells.</summary>
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

    /// <summary>Null where it can't be had: another process holds it for longer than that, or the folder may not be opened. Then the look at the room is a guess.</summary>
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
