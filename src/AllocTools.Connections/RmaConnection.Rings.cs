using AllocTools.Connections.Control;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using AllocTools.Endpoints.Engine;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections;

/// <content>Implements the interface for the rings, and handles the peer's writes.</content>
public sealed partial class RmaConnection : IRingOwner
{
    private RemoteRegion? _region;
    private long _credit;
    private uint _notifications;
    private uint _seenNotifications;

    /// <summary>Called by the thread that makes progress when a write of the peer has arrived.</summary>
    internal void OnNotification(Notice notice)
    {
        Volatile.Write(ref _notifications, _notifications + 1);
        long credit;
        string? mistake = null;
        RmaIntegrityException? damage = null;
        switch (notice.Kind)
        {
            case NoticeKind.Data or NoticeKind.DataAtStart:
                mistake = _reader.OnRun(notice.Sequence, notice.Kind == NoticeKind.DataAtStart, out credit, out bool wantsMore);
                damage = mistake is null ? null : _reader.Damage;
                if (wantsMore)
                    _rings.GrowLater();
                break;
            case NoticeKind.Credit:
                credit = _reader.Credit is { } word ? _form.DecodeCredit(word, _credit, Number, out damage) : 0;
                break;
            default:
                mistake = $"a notification has the unknown kind {notice.Kind}";
                credit = 0;
                break;
        }
        if (damage is not null)
        {
            OnDamaged(damage);
            return;
        }
        if (mistake is null && credit != 0)
            mistake = OnCredit(credit);
        if (mistake is not null)
            OnViolation(mistake);
    }

    /// <summary>Sends a heartbeat, and checks whether the peer is alive. Called by a timer.</summary>
    internal void Watch()
    {
        if (_region is null)
            return;
        _control.PostIfIdle(ControlConnection.HeartbeatFrame);
        _writer.Trim();
        _rings.ShrinkIfIdle();
        // The peer's writes also show that it is alive.
        uint notifications = Volatile.Read(ref _notifications);
        if (notifications != _seenNotifications)
            _control.NoteAlive();
        _seenNotifications = notifications;
        if (_end.IsPeerLongDone && !_reader.IsEnded && !_reader.IsCompleted)
            End(new ConnectionResetException("The peer ended without completing its stream."), "the peer ended without completing its stream", "peer_ended", tellsPeer: true);
        TimeSpan silence = _control.Silence;
        if (silence >= _owner.Options.PeerTimeout && _end.TryNoteSilent())
            EndSilent(silence);
        _end.GiveUpIfDue();
    }

    private void EndSilent(TimeSpan silence)
    {
        ConnectionsLog.PeerSilent(_owner.Logger, ConnectionId, silence.TotalSeconds);
        End(new ConnectionResetException($"The peer has been silent for {silence.TotalSeconds:0.#} s (PeerTimeout)."), "the peer is silent", "peer_silent", tellsPeer: true);
    }

    /// <summary>Tries again to start an operation that found no place at the endpoint.</summary>
    internal void Retry()
    {
        _reader.Retry();
        _writer.Retry();
    }

    private string? OnCredit(long credit)
    {
        if (!_writer.OnCredit(credit))
            return "it gave credit for more than was sent";
        // Disposal waits as long as this value changes.
        if (credit > _credit)
            Volatile.Write(ref _credit, credit);
        return null;
    }

    bool IRingOwner.TryStart(in RmaOperation operation, IOperationOwner owner)
    {
        try
        {
            return _owner.Shares.TryStart(_share, operation, owner);
        }
        catch (Exception e) when (e is RmaException or ObjectDisposedException or InvalidOperationException or ArgumentException)
        {
            // The failure is reported as if the operation had been started.
            OperationShares.NoteRefused(_share);
            owner.OnEnded(operation.Context, e);
            return true;
        }
    }

    void IRingOwner.RetryLater() => _owner.Shares.RetryLater(this, _share);

    void IRingOwner.Schedule(IThreadPoolWorkItem item) => _owner.Schedule(item);

    void IRingOwner.OnWriteFailed(Exception error) =>
        End(new ConnectionResetException($"The connection has failed: {error.Message}", error), error.Message, ConnectionTotals.TypeOf(error), tellsPeer: true);

    void IRingOwner.OnWriteAbandoned() => _end.NoteLateWrite();

    void IRingOwner.OnOperationEnded()
    {
        _owner.Shares.OnEnded(_share);
        _end.Check();
    }

    void IRingOwner.OnStreamEnded()
    {
        _end.ReportClosed();
        _end.Check();
    }

    void IRingOwner.CheckEnd() => _end.Check();

    void IRingOwner.OnReaderCompleted()
    {
        // If the set-up has failed, the peer gets no Stop.
        if (_region is not null && !_reader.IsEnded)
            _control.Post(ControlConnection.StopFrame);
        _end.Check();
    }

    void IRingOwner.Retire(RingBlock ring) => _rings.RetireLater(ring);
}
