using System.Diagnostics;
using System.IO.Pipelines;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;

namespace AllocTools.Connections.Rings;

/// <summary>Writes the frames of a writer into the peer's ring.</summary>
/// <remarks>
/// <para>
/// A frame is written immediately while fewer than <see cref="MostInFlight"/> writes are in flight, and there is credit
/// for it. Frames that accumulate meanwhile are sent as one write, a run, because frames that are contiguous in the
/// staging memory are contiguous in the ring.
/// </para>
/// <para>
/// Each thread that has something to write pumps: the thread that flushes, and the thread that finds the end of a write
/// or new credit. One of them pumps for all; the others leave a request. Nothing is posted under the lock.
/// </para>
/// <para>
/// Writes may end, and be announced, in a different order than they began. The number of a run determines its place
/// among those in flight, so it waits for the run <see cref="MostInFlight"/> before it: the reader never sees a run
/// that is further ahead.
/// </para>
/// </remarks>
internal sealed class RingSender : IOperationOwner
{
    /// <summary>How many writes may be in flight. It is a power of two, and less than the reader's window.</summary>
    public const int MostInFlight = 16;

    private readonly IRingOwner _owner;
    private readonly FrameForm _form;
    private readonly Lock _gate;
    private readonly CreditWriter _credit;
    private readonly RingBlock _words;
    private readonly Staging _staging;
    private readonly Leftovers _leftovers;
    private readonly PeerRing _ring;
    private readonly PipeWait<FlushResult> _flush;
    private readonly long _pauseAt;
    private readonly Queue<Frame> _queue = new();
    private readonly Write[] _writes = new Write[MostInFlight];
    private int _inFlight;
    private int _sequence;
    private long _frames;
    private Post? _postponed;
    private long _outstanding;
    private long _stalledSince;
    private long _stalls;
    private long _stalledTime;
    private bool _isPumping;
    private bool _mustPumpAgain;
    private bool _isEnding;
    private bool _isEndWritten;

    /// <param name="owner">The connection.</param>
    /// <param name="form">The form of frames.</param>
    /// <param name="gate">The writer's lock.</param>
    /// <param name="credit">Gives the credit of the other direction, which goes with the frames.</param>
    /// <param name="words">This side's first block: the source of headers without a payload.</param>
    /// <param name="staging">The memory of the frames.</param>
    /// <param name="leftovers">Receives unused objects.</param>
    /// <param name="flush">The flush that waits while many bytes are outstanding.</param>
    /// <param name="pauseAt">The number of outstanding bytes at which a flush waits.</param>
    public RingSender(IRingOwner owner, FrameForm form, Lock gate, CreditWriter credit, RingBlock words, Staging staging, Leftovers leftovers, PipeWait<FlushResult> flush, long pauseAt)
    {
        _owner = owner;
        _form = form;
        _gate = gate;
        _credit = credit;
        _words = words;
        _staging = staging;
        _leftovers = leftovers;
        _ring = new PeerRing(leftovers);
        _flush = flush;
        _pauseAt = pauseAt;
    }

    /// <summary>The peer's ring. The caller must hold the lock.</summary>
    public PeerRing Ring => _ring;

    /// <summary>Whether nothing is written any more, because the peer reads no more or the connection has ended.</summary>
    public bool IsDiscarding { get; private set; }

    /// <summary>Whether nothing is in flight, and nothing will be. The caller must hold the lock.</summary>
    public bool IsQuiet => (_isEndWritten || IsDiscarding) && _inFlight == 0;

    /// <summary>Whether a flush waits. The caller must hold the lock.</summary>
    public bool MustWait => _outstanding >= _pauseAt && !IsDiscarding;

    /// <summary>How often a frame had to wait for credit.</summary>
    public long Stalls => Volatile.Read(ref _stalls);

    /// <summary>For how long frames have waited for credit.</summary>
    public TimeSpan StalledTime => Stopwatch.GetElapsedTime(0, Volatile.Read(ref _stalledTime));

    /// <summary>Queues a frame. The caller must pump.</summary>
    public void Enqueue_NeedsLock(StagingChunk chunk, int start, int payload)
    {
        _queue.Enqueue(new Frame(chunk, start, payload));
        _outstanding += payload;
    }

    /// <summary>Declares that the queued frames are the last of the stream. The caller must pump.</summary>
    public void EndStream_NeedsLock() => _isEnding = true;

    /// <summary>Stops writing.</summary>
    /// <returns>The credit that was taken for a frame that is dropped.</returns>
    public CreditTaken Discard_NeedsLock()
    {
        IsDiscarding = true;
        while (_queue.TryDequeue(out Frame frame))
            _staging.Release(frame.Chunk, 1);
        CreditTaken taken = default;
        if (_postponed is { } postponed)
        {
            taken = postponed.Credit;
            EndWrite_NeedsLock(postponed.Index);
        }
        _postponed = null;
        _outstanding = 0;
        return taken;
    }

    /// <summary>Called when a write has ended.</summary>
    public void OnEnded(ulong context, Exception? error)
    {
        bool wakes;
        lock (_gate)
        {
            EndWrite_NeedsLock((int)context);
            wakes = TryWake_NeedsLock();
        }
        if (wakes)
            _flush.Schedule();
        if (error is not null)
            _owner.OnWriteFailed(error);
        Pump();
        _owner.OnOperationEnded();
    }

    /// <inheritdoc/>
    public void OnAbandoned(ulong context, Exception error)
    {
        _owner.OnWriteAbandoned();
        OnEnded(context, error);
    }

    /// <summary>Ends the wait of a flush, if it is time.</summary>
    public bool TryWake_NeedsLock() => _flush.IsActive && _flush.TryEnd_NeedsLock(_outstanding <= _pauseAt / 2 || IsDiscarding);

    /// <summary>Posts as many writes as possible, and releases unused objects. The caller must not hold the lock.</summary>
    public void Pump()
    {
        lock (_gate)
        {
            _mustPumpAgain = true;
            if (_isPumping)
                return;
            _isPumping = true;
        }
        while (TryTake(out Post post))
        {
            RmaOperation write = RmaOperation.WriteAndNotify(
                post.Source, post.Target.Region.Slice(post.Target.Offset + post.Destination, post.Source.Length), post.Notification, (ulong)post.Index);
            if (_owner.TryStart(write, this))
                continue;
            bool isDropped;
            lock (_gate)
            {
                isDropped = IsDiscarding;
                if (isDropped)
                    EndWrite_NeedsLock(post.Index);
                else
                    _postponed = post;
                _isPumping = false;
            }
            if (isDropped)
                OnDropped(post.Credit);
            else
                _owner.RetryLater();
            break;
        }
        _leftovers.Dispose();
    }

    /// <summary>Called when a begun write was dropped: its credit must be sent separately, and an end may have waited for it.</summary>
    public void OnDropped(CreditTaken taken)
    {
        _credit.GiveBack(taken);
        _owner.CheckEnd();
    }

    /// <summary>Takes the next write; ends the pumping if there is none.</summary>
    private bool TryTake(out Post post)
    {
        lock (_gate)
        {
            while (!TryTake_NeedsLock(out post))
            {
                if (!_mustPumpAgain)
                {
                    _isPumping = false;
                    return false;
                }
                _mustPumpAgain = false;
            }
            return true;
        }
    }

    private bool TryTake_NeedsLock(out Post post)
    {
        post = default;
        if (_postponed is { } postponed)
        {
            post = postponed;
            _postponed = null;
            return true;
        }
        if (!_ring.IsKnown || IsDiscarding || _isEndWritten || _writes[_sequence % MostInFlight].Kind != WriteKind.None)
            return false;
        if (_ring.HasOffer && _ring.TrySwitch(_queue.Count == 0 && _staging is { Payload: 0, IsBusy: false }, _form.HeaderLength, out RingPlace place))
        {
            RmaSlice header = PrepareHeader_NeedsLock(RingBlock.SwitchSourceOffset, FrameFlags.Switch, place, out CreditTaken taken);
            post = Begin_NeedsLock(new Write(WriteKind.Switch), header, place, taken);
            return true;
        }
        return _queue.Count > 0 ? TryTakeRun_NeedsLock(out post) : _isEnding && TryTakeEnd_NeedsLock(out post);
    }

    /// <summary>Takes contiguous frames that fit together.</summary>
    private bool TryTakeRun_NeedsLock(out Post post)
    {
        post = default;
        Frame first = _queue.Peek();
        if (!TryFind_NeedsLock(_form.FrameLength(first.Payload), out RingPlace place, out FrameFlags flags))
            return false;
        int frames = 0, run = 0;
        long payload = 0;
        while (_queue.TryPeek(out Frame frame) && frame.Chunk == first.Chunk && frame.Start == first.Start + run && _form.FrameLength(frame.Payload) <= place.Room - run)
        {
            _queue.Dequeue();
            if (frames > 0)
                Complete(frame, new FrameHeader(frame.Payload, FrameFlags.None, 0, 0), _frames + frames, place);
            frames++;
            payload += frame.Payload;
            run += _form.FrameLength(frame.Payload);
        }
        Complete(first, new FrameHeader(first.Payload, flags, run, _credit.Take(out CreditTaken taken)), _frames, place);
        _frames += frames;
        _ring.Take(place, run);
        post = Begin_NeedsLock(new Write(WriteKind.Run, first.Chunk, frames, payload), first.Chunk.Slice(first.Start, run), place, taken);
        return true;
    }

    /// <summary>Takes the header that ends the stream.</summary>
    private bool TryTakeEnd_NeedsLock(out Post post)
    {
        post = default;
        if (!TryFind_NeedsLock(_form.HeaderLength, out RingPlace place, out FrameFlags flags))
            return false;
        _isEndWritten = true;
        RmaSlice header = PrepareHeader_NeedsLock(RingBlock.EndSourceOffset, flags | FrameFlags.EndOfStream, place, out CreditTaken taken);
        _ring.Take(place, _form.HeaderLength);
        post = Begin_NeedsLock(new Write(WriteKind.End), header, place, taken);
        return true;
    }

    /// <summary>Writes a frame's header, and seals the frame.</summary>
    private void Complete(Frame frame, FrameHeader header, long number, RingPlace place)
    {
        Span<byte> bytes = frame.Chunk.Memory.Span.Slice(frame.Start, _form.FrameLength(frame.Payload));
        header.WriteTo(bytes);
        _form.Seal(bytes, number, place.Target.Number);
    }

    /// <summary>Fills the source of a header without a payload.</summary>
    private RmaSlice PrepareHeader_NeedsLock(int source, FrameFlags flags, RingPlace place, out CreditTaken taken) =>
        _words.PrepareHeader(source, new FrameHeader(0, flags, _form.HeaderLength, _credit.Take(out taken)), _form, _frames++, place.Target.Number);

    /// <summary>Finds a place, and measures the time for which there is none.</summary>
    private bool TryFind_NeedsLock(int length, out RingPlace place, out FrameFlags flags)
    {
        flags = FrameFlags.None;
        if (!_ring.TryFind(length, out place))
        {
            if (_stalledSince == 0)
                _stalledSince = Stopwatch.GetTimestamp();
            return false;
        }
        if (_stalledSince == 0)
            return true;
        flags = FrameFlags.Stalled;
        _stalls++;
        _stalledTime += Stopwatch.GetTimestamp() - _stalledSince;
        _stalledSince = 0;
        return true;
    }

    private Post Begin_NeedsLock(Write write, RmaSlice source, RingPlace place, CreditTaken taken)
    {
        int index = _sequence % MostInFlight;
        _writes[index] = write;
        _inFlight++;
        var post = new Post(index, source, place.Target, place.Offset, place.Target.Notification(place.Kind, _sequence), taken);
        _sequence = (_sequence + 1) & Notice.SequenceMask;
        return post;
    }

    private void EndWrite_NeedsLock(int index)
    {
        Write write = _writes[index];
        _writes[index] = default;
        _inFlight--;
        _outstanding = Math.Max(0, _outstanding - write.Payload);
        if (write.Kind == WriteKind.Switch)
            _ring.EndSwitch();
        else if (write.Kind == WriteKind.Run)
            _staging.Release(write.Chunk!, write.Frames);
    }

    private enum WriteKind
    {
        None,
        Run,
        Switch,
        End,
    }

    /// <summary>A waiting frame.</summary>
    private readonly record struct Frame(StagingChunk Chunk, int Start, int Payload);

    /// <summary>A write in flight.</summary>
    private readonly record struct Write(WriteKind Kind, StagingChunk? Chunk = null, int Frames = 0, long Payload = 0);

    /// <summary>A write that is about to be posted.</summary>
    [StructLayout(LayoutKind.Auto)]
    private readonly record struct Post(int Index, RmaSlice Source, RingTarget Target, int Destination, ulong Notification, CreditTaken Credit);
}
