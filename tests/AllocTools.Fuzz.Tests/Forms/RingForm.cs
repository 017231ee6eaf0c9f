using System.Buffers;
using System.Buffers.Binary;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using AllocTools.Blocks;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>
/// What a peer writes into a connection's ring, and how it announces it: the number of announcements (1 byte), the
/// announcements (2 bytes each: the run's number, and above it whether it is at the start), and the ring.
/// </summary>
internal sealed class RingForm : ByteForm, IRingOwner
{
    private const int MostNotices = 40;

    private const int Connection = 1;

    private readonly FrameForm _form;
    private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly RingBlock _block;

    public RingForm(RmaIntegrity integrity)
    {
        _form = new FrameForm(integrity);
        // A slab is one block: nothing behind it may be touched.
        _pool = new RmaMemoryPool<HostProvider>(
            _context, new RmaMemoryPoolOptions { SizeClasses = { new SizeClassOptions { BlockSize = 8192 } }, MaxSlabBytes = 65_536, Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero }, blocks: new GuardedBlocks());
        _block = new RingBlock(_pool, BlockLength);
    }

    public override string Name => _form.IsChecked ? $"ring-{_form.Integrity.ToString().ToLowerInvariant()}" : "ring";

    public override int Inputs => _form.IsChecked ? 10_000 : 20_000;

    public override int MostLength => 1 + (2 * MostNotices) + _block.Length;

    /// <summary>
    /// Gets the length of the block. It is larger than the largest class, so it has its own region, which ends at the
    /// end of a page.
    /// </summary>
    private static int BlockLength => 12_288;

    public override Gen<byte[]> Valid => Gen.Select(Gen.Int[0, 400].Array[1, 6].Array[1, 4], Gen.Bool, byte[] (runs, ends) =>
    {
        List<byte> ring = [];
        long number = 0;
        foreach (int[] payloads in runs)
        {
            int run = payloads.Sum(_form.FrameLength);
            for (int i = 0; i < payloads.Length; i++)
            {
                byte[] frame = new byte[_form.FrameLength(payloads[i])];
                bool isLast = ends && payloads == runs[^1] && i == payloads.Length - 1;
                new FrameHeader(payloads[i], isLast ? FrameFlags.EndOfStream : FrameFlags.None, i == 0 ? run : 0, 0).WriteTo(frame);
                _form.Seal(frame, number++, Connection);
                ring.AddRange(frame);
            }
        }
        return [(byte)runs.Length, .. Enumerable.Range(0, runs.Length).SelectMany(static i => BitConverter.GetBytes((ushort)i)), .. ring];
    });

    /// <summary>Seals each frame again, as far as their lengths lead from one to the next.</summary>
    public override void Repair(byte[] input)
    {
        if (input.Length == 0)
            return;
        Span<byte> rest = input.AsSpan(1);
        rest = rest[(2 * Math.Min(Math.Min((int)input[0], MostNotices), rest.Length / 2))..];
        for (long number = 0; rest.Length >= _form.HeaderLength; number++)
        {
            int length = _form.FrameLength(FrameHeader.Read(rest).PayloadLength);
            if (length > rest.Length)
                return;
            _form.Seal(rest[..length], number, Connection);
            rest = rest[length..];
        }
    }

    // There is a segment for each frame, which has at least 16 bytes, and the data of repeated runs.
    public override long? MostAllocated(int length) => (64 << 10) + (8L * length) + (MostNotices * (BlockLength / FrameHeader.Length) * 80L);

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        if (input.IsEmpty)
            return "It has no announcements.";
        ReadOnlySpan<byte> rest = input.Span[1..];
        int count = Math.Min(Math.Min((int)input.Span[0], MostNotices), rest.Length / 2);
        ReadOnlySpan<byte> written = rest[(2 * count)..];
        written[..Math.Min(written.Length, _block.Length)].CopyTo(MemoryMarshal.AsMemory(_block.Ring).Span);
        var reader = new RingReader(this, _form, Connection, _block);
        string? mistake = null;
        for (int i = 0; i < count && mistake is null; i++)
        {
            ushort notice = BinaryPrimitives.ReadUInt16LittleEndian(rest[(2 * i)..]);
            mistake = reader.OnRun(notice & Notice.SequenceMask, (notice & 0x8000) != 0, out _, out _);
            if (i % 3 == 2)
                Consume(reader);
        }
        Consume(reader);
        // Nothing is left: the ring is as free as before.
        reader.Complete();
        Assert.True(reader.IsCompleted);
        reader.Close();
        return mistake;
    }

    protected override void Close()
    {
        _block.Dispose();
        Assert.Equal(0, _pool.GetStatistics().RentedBuffers);
        _pool.Dispose();
        _context.Dispose();
    }

    bool IRingOwner.TryStart(in RmaOperation operation, IOperationOwner owner) => throw new InvalidOperationException("Nobody gives credit.");

    void IRingOwner.RetryLater()
    {
    }

    void IRingOwner.Schedule(IThreadPoolWorkItem item) => item.Execute();

    void IRingOwner.OnWriteFailed(Exception error) => throw error;

    void IRingOwner.OnWriteAbandoned()
    {
    }

    void IRingOwner.OnOperationEnded()
    {
    }

    void IRingOwner.CheckEnd()
    {
    }

    void IRingOwner.OnStreamEnded()
    {
    }

    void IRingOwner.OnReaderCompleted()
    {
    }

    void IRingOwner.Retire(RingBlock ring)
    {
    }

    /// <summary>Reads each byte that was announced.</summary>
    private void Consume(RingReader reader)
    {
        if (!reader.TryRead(out ReadResult result))
            return;
        Assert.InRange(result.Buffer.Length, 0, _block.Length);
        byte[] copy = ArrayPool<byte>.Shared.Rent((int)result.Buffer.Length);
        result.Buffer.CopyTo(copy);
        ArrayPool<byte>.Shared.Return(copy);
        reader.AdvanceTo(result.Buffer.End);
    }

    private sealed class GuardedBlocks : IBlockAllocator
    {
        private readonly Dictionary<nint, GuardedMemory> _mapped = [];

        public int PageSize => Environment.SystemPageSize;

        public unsafe nint Allocate(long length, bool populate)
        {
            var memory = new GuardedMemory((int)length);
            fixed (byte* address = memory.GetSpan())
            {
                lock (_mapped)
                    _mapped[(nint)address] = memory;
                return (nint)address;
            }
        }

        public void Free(nint address, long length)
        {
            lock (_mapped)
            {
                ((IDisposable)_mapped[address]).Dispose();
                _mapped.Remove(address);
            }
        }
    }
}
