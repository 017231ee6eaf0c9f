using System.IO.MemoryMappedFiles;
using AllocTools.Interop;
using AllocTools.Libfabric.Interop;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace AllocTools.Libfabric.Tests;

/// <summary>
/// The lock of another process's shm region (smr_region of libfabric 1.15 to 1.17), held until this object is disposed.
/// </summary>
internal sealed class SharedMemoryLock : IDisposable
{
    // version, reserved, flags, pid, two cma_cap and padding, max_sar_buf_per_peer, base_addr: then a pthread_spinlock_t.
    private const int PidOffset = 4;
    private const int LockOffset = 24;

    // glibc's spin locks count down on x86.
    private const int FreeLock = 1;
    private const int HeldLock = int.MinValue / 2;
    private readonly MemoryMappedFile _file;
    private readonly MemoryMappedViewAccessor _view;

    private SharedMemoryLock(string path)
    {
        // The file is not opened by its path: its owner keeps it locked, which File respects.
        using SafeFileHandle file = FileLocks.OpenForWriting(path, out int error) ?? throw new IOException($"{path} can't be opened: {error}.");
        _file = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        _view = _file.CreateViewAccessor(0, 4096);
    }

    /// <summary>
    /// Takes the lock of a process; returns null if the library's version has another layout of the region, or no such
    /// lock.
    /// </summary>
    public static SharedMemoryLock? TryTake(int pid)
    {
        Version version = LibfabricLibrary.Default!.Version;
        if (version < new Version(1, 15) || version >= new Version(1, 18))
        {
            TestContext.Current.TestOutputHelper!.WriteLine($"libfabric {version} lays out shared memory in another way than 1.15 to 1.17: the peer is stopped, and holds no lock.");
            return null;
        }
        string path = Directory.EnumerateFiles("/dev/shm", $"alloctools-{pid}-*").Single();
        var region = new SharedMemoryLock(path);
        if (region._view.ReadInt32(PidOffset) != pid)
            throw new InvalidOperationException($"{path} is laid out in another way than libfabric 1.15 to 1.17 do it.");
        // Wait until the current holder of the lock releases it.
        SpinWait.SpinUntil(() => region._view.ReadInt32(LockOffset) == FreeLock);
        region._view.Write(LockOffset, HeldLock);
        return region;
    }

    public void Dispose()
    {
        _view.Write(LockOffset, FreeLock);
        _view.Dispose();
        _file.Dispose();
    }
}
