using System.Buffers;
using System.Diagnostics;
using AllocTools.Interop;
using AllocTools.Pooling;

namespace AllocTools;

/// <summary>A buffer as <see cref="Memory{T}"/>: each access checks the lease, and a pin holds the buffer. It never returns the buffer.</summary>
/// <remarks>
/// Where the buffer was returned an access throws, with one exception. On Unix a pending operation of a socket asks for the
/// span when bytes have come, on a thread of the runtime's where an exception ends the process. It is given addresses that
/// the process can't reach: the system call then fails with EFAULT, which the caller who awaits the operation gets as a
/// <see cref="System.Net.Sockets.SocketException"/>.
/// </remarks>
internal sealed unsafe class RmaBufferMemoryManager(RmaBuffer buffer) : MemoryManager<byte>
{
    private const string Sockets = "System.Net.Sockets,";

    private static readonly string[] NoCallers = ["System.Private.CoreLib,", typeof(RmaBufferMemoryManager).Assembly.GetName().Name + ","];

    private int _pins;

    public override Span<byte> GetSpan() => buffer.TryGetSpan(out Span<byte> span) ? span : GetSpanOfReturned();

    public override MemoryHandle Pin(int elementIndex = 0)
    {
        RangeCheck.ThrowIfOutside(elementIndex, 0, buffer.Length, nameof(elementIndex));
        buffer.Pin();
        Interlocked.Increment(ref _pins);
        return new MemoryHandle((byte*)buffer.Address + elementIndex, default, this);
    }

    public override void Unpin()
    {
        if (Interlocked.Decrement(ref _pins) < 0)
        {
            Interlocked.Increment(ref _pins);
            LeaseErrors.ThrowNotHeld();
        }
        buffer.Unpin();
    }

    protected override void Dispose(bool disposing)
    {
    }

    private Span<byte> GetSpanOfReturned()
    {
        nint address = IsAskedBySocket() ? UnreachableMemory.Address : 0;
        if (address == 0)
            buffer.ThrowReturned();
        buffer.ReportUseBySocket();
        return new Span<byte>((void*)address, (int)buffer.Length);
    }

    /// <summary>The nearest caller outside of the runtime's core and this library is a method of the runtime's sockets.</summary>
    private static bool IsAskedBySocket()
    {
        foreach (StackFrame frame in new StackTrace(fNeedFileInfo: false).GetFrames())
        {
            // Null where a program was compiled ahead of time without what it takes to name methods.
            string? assembly = DiagnosticMethodInfo.Create(frame)?.DeclaringAssemblyName;
            if (assembly is null || !NoCallers.Any(n => assembly.StartsWith(n, StringComparison.Ordinal)))
                return assembly?.StartsWith(Sockets, StringComparison.Ordinal) == true;
        }
        return false;
    }
}
