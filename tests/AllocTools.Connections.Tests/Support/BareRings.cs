using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using AllocTools.HostMemory;
using AllocTools.Regions;

namespace AllocTools.Connections.Tests.Support;

/// <summary>
/// The ends of a connection's rings without the rest of it: a test says when operations begin and end, and nothing is
/// moved.
/// </summary>
internal sealed class BareRings : IRingOwner, IDisposable
{
    private readonly IRmaContext _context = new HostProvider(new HostProviderOptions { Locking = PageLocking.None }).Open();
    private readonly RmaMemoryPool<HostProvider> _pool;
    private readonly IRmaEndpoint _endpoint;
    private readonly RingBlock _block;
    private readonly RmaPeer _self;

    public BareRings(int ringLength, RmaIntegrity integrity = RmaIntegrity.None)
    {
        _pool = new RmaMemoryPool<HostProvider>(_context, new RmaMemoryPoolOptions { Access = RmaAccess.RemoteWrite, DrainTimeout = TimeSpan.Zero });
        _endpoint = _context.OpenEndpoint();
        _self = _endpoint.InsertPeer(_endpoint.Address.Span);
        _block = new RingBlock(_pool, RingBlock.WordsLength + ringLength);
        Form = new FrameForm(integrity);
        Reader = new RingReader(this, Form, 1, _block);
        Writer = new RingWriter(this, Form, Reader.CreditWriter, _block, _pool, new StagingShare(), 1 << 30);
        RemoteRegion region = _endpoint.Import(_self, _block.Remote);
        Reader.CreditWriter.Start(new CreditTarget(region.Slice(0, RingBlock.CreditLength), 0));
        Writer.Start(new RingTarget(region, RingBlock.WordsLength, _block.Length, 1));
    }

    public FrameForm Form { get; }

    public RingReader Reader { get; }

    public RingWriter Writer { get; }

    /// <summary>Gets the operations that were started and have not ended.</summary>
    public List<(RmaOperation Operation, IOperationOwner Owner)> Running { get; } = [];

    /// <summary>Called before an operation starts; returns false if there is no place for it.</summary>
    public Func<bool> Admits { get; set; } = static () => true;

    /// <summary>Gets how often the connection was asked to check whether it has ended.</summary>
    public int Checks { get; private set; }

    public int Retries { get; private set; }

    public long RentedBuffers => _pool.GetStatistics().RentedBuffers;

    /// <summary>Simulates the arrival of a run, as the writer of this side would write it.</summary>
    public void Arrive(int sequence, int at, FrameHeader header)
    {
        Span<byte> ring = System.Runtime.InteropServices.MemoryMarshal.AsMemory(_block.Ring).Span;
        header.WriteTo(ring[at..]);
        Assert.Null(Reader.OnRun(sequence, atStart: false, out _, out _));
    }

    /// <summary>Delivers a running write as a run, with the given place and number.</summary>
    /// <returns>The error in it; null if there is none.</returns>
    public string? Deliver(int running, int sequence, int at)
    {
        Running[running].Operation.Local.Span.CopyTo(System.Runtime.InteropServices.MemoryMarshal.AsMemory(_block.Ring).Span[at..]);
        return Announce(sequence);
    }

    /// <summary>Announces a run that contains whatever is in the ring.</summary>
    public string? Announce(int sequence) => Reader.OnRun(sequence, atStart: false, out _, out _);

    /// <summary>Offers another ring to the writer.</summary>
    public bool Offer(int length) => Writer.OnOffer(new RingTarget(_endpoint.Import(_self, _block.Remote), RingBlock.WordsLength, length, 1));

    /// <summary>Returns the payloads of the frames under way, none of which may be longer than the given length.</summary>
    public List<byte> Written(int mostFrame)
    {
        var written = new List<byte>();
        foreach ((RmaOperation operation, _) in Running)
        {
            for (Span<byte> run = operation.Local.Span; !run.IsEmpty;)
            {
                int payload = FrameHeader.Read(run).PayloadLength;
                Assert.InRange(Form.FrameLength(payload), Form.HeaderLength + 1, mostFrame);
                written.AddRange(run.Slice(Form.HeaderLength, payload));
                run = run[Form.FrameLength(payload)..];
            }
        }
        return written;
    }

    public void End(int index)
    {
        (RmaOperation operation, IOperationOwner owner) = Running[index];
        Running.RemoveAt(index);
        owner.OnEnded(operation.Context, null);
    }

    public bool TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        if (!Admits())
            return false;
        Running.Add((operation, owner));
        return true;
    }

    public void RetryLater() => Retries++;

    public void Schedule(IThreadPoolWorkItem item) => item.Execute();

    public void OnWriteFailed(Exception error) => Assert.Fail(error.ToString());

    public void OnWriteAbandoned()
    {
    }

    public void OnOperationEnded()
    {
    }

    public void CheckEnd() => Checks++;

    public void OnStreamEnded()
    {
    }

    public void OnReaderCompleted()
    {
    }

    public void Retire(RingBlock ring)
    {
    }

    public void Dispose()
    {
        Writer.Discard();
        while (Running.Count > 0)
            End(0);
        Writer.Complete();
        Reader.Complete();
        Writer.ReleaseTargets();
        _endpoint.Dispose();
        _block.Dispose();
        Assert.Equal(0, _pool.GetStatistics().RentedBuffers);
        _pool.Dispose();
        _context.Dispose();
    }
}
