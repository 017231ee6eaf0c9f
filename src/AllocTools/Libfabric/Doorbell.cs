using System.IO.MemoryMappedFiles;
using AllocTools.Endpoints.Engine;
using AllocTools.Interop;
using Microsoft.Win32.SafeHandles;

namespace AllocTools.Libfabric;

/// <summary>A word at the end of an endpoint's shm file, by which its peers wake its thread.</summary>
/// <remarks>
/// shm has no descriptor to wait on, so an idle thread would notice a peer's operation only at its next poll, up to 100
/// ms later; and a peer's writes cause no completion here, so a thread that serves nothing else would poll more and
/// more rarely. Therefore a peer of this library rings after it has posted. The word is in its own page after the part
/// of the file that libfabric uses, and libfabric does not map it. Programs in C and earlier versions of this library
/// neither have a doorbell nor ring one; their operations are found by polling as before. A ring only affects how soon
/// the thread polls. The thread writes the word, passes a fence and polls its queue; a peer posts, passes a fence and
/// reads the word. So one of them sees the other. A view is unmapped when it is collected: a ring may come late.
/// </remarks>
internal sealed unsafe class Doorbell
{
    /// <summary>No ring is needed, or one has arrived.</summary>
    private const int Quiet = 0;

    /// <summary>The thread keeps polling its queue, and wants to know whether that is useful.</summary>
    private const int Listening = 1;

    /// <summary>The thread sleeps, or is about to.</summary>
    private const int Asleep = 2;

    private static readonly UInt128 Mark = new(0x3f1b_6c04_9e5d_4a87, 0xb1d2_75c8_0a6e_e931);
    private static readonly long PageSize = Environment.SystemPageSize;

    private readonly MemoryMappedViewAccessor _view;
    private readonly int* _word;

    private Doorbell(MemoryMappedViewAccessor view)
    {
        _view = view;
        byte* start = null;
        view.SafeMemoryMappedViewHandle.AcquirePointer(ref start);
        _word = (int*)(start + view.PointerOffset + sizeof(UInt128));
    }

    /// <summary>Whether the owner's thread sleeps or is about to.</summary>
    public bool IsAsleep => Volatile.Read(ref *_word) == Asleep;

    /// <summary>Whether a peer has rung since <see cref="Listen"/> or <see cref="BeginSleep"/>.</summary>
    public bool HasRung => Volatile.Read(ref *_word) == Quiet;

    /// <summary>Appends a doorbell to a file. Returns null if the system has no space for it or no way to wait for it.</summary>
    public static Doorbell? Append(SafeFileHandle file)
    {
        if (!Futex.IsSupported)
            return null;
        byte[] page = new byte[PageSize];
        BitConverter.TryWriteBytes(page, Mark);
        try
        {
            long at = (RandomAccess.GetLength(file) + PageSize - 1) / PageSize * PageSize;
            RandomAccess.Write(file, page, at);
            return Map(file, at);
        }
        catch (IOException)
        {
            // /dev/shm is full.
            return null;
        }
    }

    /// <summary>Opens the doorbell of a peer's file; null if the file has none.</summary>
    /// <param name="file">The file, opened for reading and writing.</param>
    public static Doorbell? Find(SafeFileHandle file)
    {
        long at = RandomAccess.GetLength(file) - PageSize;
        Span<byte> mark = stackalloc byte[sizeof(UInt128)];
        return Futex.IsSupported && at >= 0 && at % PageSize == 0 && RandomAccess.Read(file, mark, at) == mark.Length && BitConverter.ToUInt128(mark) == Mark
            ? Map(file, at)
            : null;
    }

    /// <summary>Rings after an operation was posted to the owner. Any thread of any process may call this.</summary>
    public void Ring()
    {
        Fence.Full();
        if (Volatile.Read(ref *_word) != Quiet && Interlocked.Exchange(ref *_word, Quiet) == Asleep)
            Futex.Wake(ref *_word);
        GC.KeepAlive(_view);
    }

    /// <summary>Requests a ring for the next operation. Only the owner's thread calls this and the following members.</summary>
    public void Listen() => Volatile.Write(ref *_word, Listening);

    /// <summary>Requests a ring that wakes the thread. The caller polls its queue once more before it sleeps.</summary>
    public void BeginSleep()
    {
        Volatile.Write(ref *_word, Asleep);
        Fence.Full();
    }

    /// <summary>Sleeps until a peer rings.</summary>
    /// <returns>False if the time is up, a signal arrived, or a late ring of the previous sleep arrived.</returns>
    public bool Sleep(TimeSpan longest)
    {
        if (!HasRung)
            Futex.Wait(ref *_word, Asleep, longest);
        return HasRung;
    }

    public void EndSleep() => Volatile.Write(ref *_word, Quiet);

    private static Doorbell Map(SafeFileHandle file, long at)
    {
        using MemoryMappedFile mapped = MemoryMappedFile.CreateFromFile(file, null, 0, MemoryMappedFileAccess.ReadWrite, HandleInheritability.None, leaveOpen: true);
        return new Doorbell(mapped.CreateViewAccessor(at, PageSize));
    }
}

/// <summary>Waits for a peer to ring, if there is no descriptor.</summary>
internal sealed class BellWaker(Doorbell bell) : IWaker
{
    private int _isWoken;

    public bool HasRung => bell.HasRung;

    public void Wake()
    {
        Volatile.Write(ref _isWoken, 1);
        bell.Ring();
    }

    public void Listen() => bell.Listen();

    public void Prepare() => bell.BeginSleep();

    public WaitEnd Wait(TimeSpan longest, bool forCompletions)
    {
        bool hasRung = Volatile.Read(ref _isWoken) != 0 || bell.Sleep(longest);
        bell.EndSleep();
        return Interlocked.Exchange(ref _isWoken, 0) != 0 || hasRung ? WaitEnd.Woken : WaitEnd.TimedOut;
    }

    public void Dispose()
    {
    }
}
