using System.ComponentModel;
using System.Runtime.InteropServices;
using AllocTools.Blocks;

namespace AllocTools.Scale.Simulation;

/// <summary>Addresses without memory behind them until they are written to: 4 TiB that the system only reserves.</summary>
internal sealed partial class SimulatedMemory : IBlockAllocator, IDisposable
{
    private const long Reserved = 4L << 40;
    private const int ReadAndWrite = 3, PrivateAnonymousNotReserved = 0x4022;

    private readonly Lock _gate = new();
    private readonly Dictionary<long, Stack<nint>> _free = [];
    private readonly nint _start;
    private long _used;

    public SimulatedMemory()
    {
        _start = Map(0, unchecked((nuint)Reserved), ReadAndWrite, PrivateAnonymousNotReserved, -1, 0);
        if (_start == -1)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), $"mmap of {Reserved} bytes that are only reserved failed");
    }

    public int PageSize => 4096;

    /// <summary>Gets the number of currently allocated bytes.</summary>
    public long Allocated { get; private set; }

    public nint Allocate(long length, bool populate)
    {
        lock (_gate)
        {
            Allocated += length;
            if (_free.TryGetValue(length, out Stack<nint>? free) && free.TryPop(out nint address))
                return address;
            if (_used + length > Reserved)
                throw new InsufficientMemoryException($"{_used} bytes of {Reserved} are in use.");
            _used += length;
            return _start + (nint)(_used - length);
        }
    }

    public void Free(nint address, long length)
    {
        lock (_gate)
        {
            Allocated -= length;
            if (!_free.TryGetValue(length, out Stack<nint>? free))
                _free[length] = free = new Stack<nint>();
            free.Push(address);
        }
    }

    public void Dispose()
    {
        if (Unmap(_start, unchecked((nuint)Reserved)) != 0)
            throw new Win32Exception(Marshal.GetLastPInvokeError(), "munmap failed");
    }

    [LibraryImport("libc", EntryPoint = "mmap", SetLastError = true)]
    private static partial nint Map(nint address, nuint length, int protection, int flags, int descriptor, nint offset);

    [LibraryImport("libc", EntryPoint = "munmap", SetLastError = true)]
    private static partial int Unmap(nint address, nuint length);
}
