using System.Runtime.InteropServices;

namespace AllocTools.Interop;

/// <summary>Manages pages of memory with the operating system's own calls, which return 0 or the system's positive error number.</summary>
internal static unsafe partial class SystemPages
{
    private const int ProtectNone = 0;
    private const int ProtectReadWrite = 0x3;
    private const int MapPrivate = 0x2;
    private const int AdviceDontNeed = 4;
    private const int AdviceHugePages = 14;
    private const int AdvicePopulateRead = 22;
    private const int AdvicePopulateWrite = 23;
    private const int MapHugeTables = 0x40000;
    private const int PreferredPolicy = 1;
    private const int InvalidArgument = 22;
    private const int NotImplemented = 38;
    private const uint MemCommitReserve = 0x3000;
    private const uint MemRelease = 0x8000;
    private const uint PageReadWrite = 0x4;

    private static int MapNoReserve => OperatingSystem.IsMacOS() ? 0x40 : 0x4000;

    private static int MapAnonymous => OperatingSystem.IsMacOS() ? 0x1000 : 0x20;

    public static int Map(nuint length, out nint address)
    {
        if (OperatingSystem.IsWindows())
        {
            address = VirtualAlloc(0, length, MemCommitReserve, PageReadWrite);
            return address == 0 ? Marshal.GetLastPInvokeError() : 0;
        }
        address = mmap(0, length, ProtectReadWrite, MapPrivate | MapAnonymous, -1, 0);
        if (address != -1)
            return 0;
        address = 0;
        return Marshal.GetLastPInvokeError();
    }

    /// <summary>Reserves addresses that can't be accessed and have no memory behind them (not on Windows).</summary>
    public static int Reserve(nuint length, out nint address)
    {
        address = 0;
        if (OperatingSystem.IsWindows())
            return NotImplemented;
        address = mmap(0, length, ProtectNone, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        if (address != -1)
            return 0;
        address = 0;
        return Marshal.GetLastPInvokeError();
    }

    /// <summary>Maps memory that counts as used only when it is written to (Linux; elsewhere as the system does it).</summary>
    public static int MapUnbacked(nuint length, out nint address)
    {
        if (!OperatingSystem.IsLinux())
            return Map(length, out address);
        address = mmap(0, length, ProtectReadWrite, MapPrivate | MapAnonymous | MapNoReserve, -1, 0);
        if (address != -1)
            return 0;
        address = 0;
        return Marshal.GetLastPInvokeError();
    }

    /// <summary>Releases the memory behind pages, which stay mapped and are zero from then on (Linux).</summary>
    public static int Discard(nint address, nuint length)
    {
        if (!OperatingSystem.IsLinux())
            return NotImplemented;
        return madvise(address, length, AdviceDontNeed) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Maps at a multiple of the alignment. Maps more than that, and unmaps the excess on both sides (not on Windows).</summary>
    public static int MapAligned(nuint length, nuint alignment, out nint address)
    {
        if (OperatingSystem.IsWindows())
            return Map(length, out address);
        int error = Map(length + alignment, out nint all);
        if (error != 0)
        {
            address = 0;
            return error;
        }
        address = (nint)(((nuint)all + alignment - 1) & ~(alignment - 1));
        // The excess is never touched: if it can't be unmapped, it uses addresses but no memory.
        nuint before = (nuint)(address - all);
        if (before != 0)
            _ = Unmap(all, before);
        if (alignment - before != 0)
            _ = Unmap(address + (nint)length, alignment - before);
        return 0;
    }

    /// <summary>Maps reserved huge pages of the system's default size (Linux), or fails: MAP_HUGETLB reserves them here.</summary>
    public static int MapHuge(nuint length, out nint address)
    {
        address = mmap(0, length, ProtectReadWrite, MapPrivate | MapAnonymous | MapHugeTables, -1, 0);
        if (address != -1)
            return 0;
        address = 0;
        return Marshal.GetLastPInvokeError();
    }

    /// <summary>Makes pages that don't exist yet come from a NUMA node as long as it has free ones (Linux).</summary>
    public static int PreferNode(nint address, nuint length, int node)
    {
        nint number = (OperatingSystem.IsLinux(), RuntimeInformation.ProcessArchitecture) switch
        {
            (true, Architecture.X64) => 237,
            (true, Architecture.Arm64) => 235,
            _ => 0,
        };
        if (number == 0)
            return NotImplemented;
        const int bits = 8 * sizeof(ulong);
        ulong* nodes = stackalloc ulong[(node / bits) + 1];
        new Span<ulong>(nodes, (node / bits) + 1).Clear();
        nodes[node / bits] = 1UL << (node % bits);
        // This is one more than there are, because the kernel ignores the last bit (mbind(2)).
        return mbind(number, address, length, PreferredPolicy, nodes, (nuint)((node / bits) + 1) * bits + 1, 0) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Requests transparent huge pages (Linux). On a kernel without them, nothing changes.</summary>
    public static void AdviseHugePages(nint address, nuint length)
    {
        if (OperatingSystem.IsLinux())
            _ = madvise(address, length, AdviceHugePages);
    }

    public static int Unmap(nint address, nuint length)
    {
        if (OperatingSystem.IsWindows())
            return VirtualFree(address, 0, MemRelease) ? 0 : Marshal.GetLastPInvokeError();
        return munmap(address, length) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>
    /// Backs pages with memory. MADV_POPULATE_WRITE (Linux 5.14) reports a lack of memory; if it is not supported,
    /// each page is written to.
    /// </summary>
    public static int Populate(nint address, nuint length)
    {
        if (OperatingSystem.IsLinux())
        {
            if (madvise(address, length, AdvicePopulateWrite) == 0)
                return 0;
            int error = Marshal.GetLastPInvokeError();
            if (error != InvalidArgument)
                return error;
        }
        for (nuint offset = 0; offset < length; offset += (nuint)Environment.SystemPageSize)
            Volatile.Write(ref *((byte*)address + offset), 0);
        return 0;
    }

    /// <summary>
    /// Backs the pages of memory that is in use, without changing its contents. Nothing is done if the kernel can't do
    /// that (before Linux 5.14), or if the memory belongs to a device.
    /// </summary>
    public static int PopulateInUse(nint address, nuint length, bool isWritable)
    {
        if (!OperatingSystem.IsLinux())
            return 0;
        nint page = Environment.SystemPageSize;
        nint first = address & -page;
        nint end = (address + (nint)length + page - 1) & -page;
        int error = madvise(first, (nuint)(end - first), isWritable ? AdvicePopulateWrite : AdvicePopulateRead) == 0 ? 0 : Marshal.GetLastPInvokeError();
        return error == InvalidArgument ? 0 : error;
    }

    /// <summary>Locks whole pages into memory: mlock(2) or VirtualLock.</summary>
    public static int Lock(nint address, nuint length)
    {
        if (OperatingSystem.IsWindows())
            return VirtualLock(address, length) ? 0 : Marshal.GetLastPInvokeError();
        return mlock(address, length) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    /// <summary>Whether a number of bytes may be locked (Linux). It is tried with a mapping without memory; null if that is not possible.</summary>
    public static bool? TryLockOnFault(nuint length)
    {
        const int NoAccess = 0;
        const int NoReserve = 0x4000;
        const uint OnFault = 1;
        nint address = mmap(0, length, NoAccess, MapPrivate | MapAnonymous | NoReserve, -1, 0);
        if (address == -1)
            return null;
        try
        {
            if (mlock2(address, length, OnFault) == 0)
                return true;
            return Marshal.GetLastPInvokeError() is SystemErrors.NoMemory or SystemErrors.NotPermitted or SystemErrors.Again ? false : null;
        }
        catch (EntryPointNotFoundException)
        {
            // This is an older C library.
            return null;
        }
        finally
        {
            _ = munmap(address, length);
        }
    }

    /// <summary>Unlocks whole pages: munlock(2) or VirtualUnlock.</summary>
    public static int Unlock(nint address, nuint length)
    {
        if (OperatingSystem.IsWindows())
            return VirtualUnlock(address, length) ? 0 : Marshal.GetLastPInvokeError();
        return munlock(address, length) == 0 ? 0 : Marshal.GetLastPInvokeError();
    }

    public static string Describe(int error) => $"{SystemErrors.NameOf(error)} ({Marshal.GetPInvokeErrorMessage(error)})";

    [LibraryImport("libc", SetLastError = true)]
    private static partial nint mmap(nint address, nuint length, int protection, int flags, int descriptor, long offset);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int munmap(nint address, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int madvise(nint address, nuint length, int advice);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mlock(nint address, nuint length);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int mlock2(nint address, nuint length, uint flags);

    [LibraryImport("libc", SetLastError = true)]
    private static partial int munlock(nint address, nuint length);

    // glibc has no function for it, and the one in libnuma is not part of the system.
    [LibraryImport("libc", SetLastError = true, EntryPoint = "syscall")]
    private static partial nint mbind(nint number, nint address, nuint length, nint policy, ulong* nodes, nuint mostNode, nuint flags);

    [LibraryImport("kernel32", SetLastError = true)]
    private static partial nint VirtualAlloc(nint address, nuint length, uint type, uint protection);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualFree(nint address, nuint length, uint type);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualLock(nint address, nuint length);

    [LibraryImport("kernel32", SetLastError = true)]
    [return: MarshalAs(UnmanagedType.Bool)]
    private static partial bool VirtualUnlock(nint address, nuint length);
}
