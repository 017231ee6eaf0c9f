using System.Buffers;
using System.Diagnostics;
using AllocTools.Interop;
using AllocTools.Pooling;

namespace AllocTools.Buffers;

/// <summary>The base of all <see cref="MemoryManager{T}"/> types over a lease: each access checks the lease, and a pin holds the buffer.</summary>
/// <remarks>
/// After the buffer was returned, an access throws, with one exception. On Unix, a pending socket operation requests
/// the span when bytes have arrived, on a thread of the runtime where an exception would end the process. It gets
/// addresses that the process can't access: the system call then fails with EFAULT, which the code that awaits the
/// operation receives as a <see cref="System.Net.Sockets.SocketException"/>.
/// <para>This is a mutable value: its owner must keep it in one field.</para>
/// </remarks>
internal unsafe struct LeasedMemory(RmaSlice slice)
{
    private const string Sockets = "System.Net.Sockets,";

    private static readonly string[] NoCallers = ["System.Private.CoreLib,", typeof(LeasedMemory).Assembly.GetName().Name + ","];

    private int _pins;

    /// <summary>The bytes of a buffer that it represents, at most 2^31 - 1.</summary>
    public RmaSlice Slice { get; } = slice;

    public readonly Span<byte> GetSpan() => GetSpan<byte>();

    public readonly Span<T> GetSpan<T>()
        where T : unmanaged
    {
        int count = (int)(Slice.Length / sizeof(T));
        return Slice.Buffer.TryGetAddress(out nint address) ? new Span<T>((void*)(address + (nint)Slice.Offset), count) : new Span<T>((void*)AddressOfReturned(), count);
    }

    public MemoryHandle Pin(int elementIndex, IPinnable pinnable) => Pin<byte>(elementIndex, pinnable);

    public MemoryHandle Pin<T>(int elementIndex, IPinnable pinnable)
        where T : unmanaged
    {
        RangeCheck.ThrowIfOutside(elementIndex, 0, Slice.Length / sizeof(T), nameof(elementIndex));
        Slice.Buffer.Pin();
        Interlocked.Increment(ref _pins);
        return new MemoryHandle((T*)Slice.Address + elementIndex, default, pinnable);
    }

    public void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) < 0)
        {
            Interlocked.Increment(ref _pins);
            LeaseErrors.ThrowNotHeld();
        }
        Slice.Buffer.Unpin();
    }

    private readonly nint AddressOfReturned()
    {
        // The range of inaccessible addresses is as long as the longest span.
        nint address = Slice.Length <= int.MaxValue && IsAskedBySocket() ? UnreachableMemory.Address : 0;
        if (address == 0)
            Slice.Buffer.ThrowReturned();
        Slice.Buffer.ReportUseBySocket();
        return address;
    }

    /// <summary>Whether the nearest caller outside the runtime's core and this library is a method of the runtime's sockets.</summary>
    private static bool IsAskedBySocket()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: false).GetFrames())
        {
            // It is null if the program was compiled ahead of time without the data for naming methods.
            string? assembly = DiagnosticMethodInfo.Create(frame)?.DeclaringAssemblyName;
            if (assembly is null || !NoCallers.Any(n => assembly.StartsWith(n, StringComparison.Ordinal)))
                return assembly?.StartsWith(Sockets, StringComparison.Ordinal) == true;
        }
        return false;
    }
}

/// <summary>A part of a buffer as <see cref="Memory{T}"/>. It never returns the buffer.</summary>
internal sealed class RmaBufferMemoryManager(RmaSlice slice) : MemoryManager<byte>
{
    private LeasedMemory _leased = new(slice);

    public RmaSlice Slice => _leased.Slice;

    public override Span<byte> GetSpan() => _leased.GetSpan();

    public override MemoryHandle Pin(int elementIndex = 0) => _leased.Pin(elementIndex, this);

    public override void Unpin() => _leased.Unpin();

    protected override void Dispose(bool disposing)
    {
    }
}
