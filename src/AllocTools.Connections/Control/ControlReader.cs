using System.Net.Sockets;
using AllocTools.Connections.Rings;
using AllocTools.Endpoints;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Connections.Control;

/// <summary>Reads the control connection once a connection is set up, until it ends.</summary>
/// <param name="connection">The connection.</param>
/// <param name="control">Its control connection.</param>
/// <param name="end">Its end.</param>
/// <param name="import">Imports a ring that the peer offers.</param>
internal sealed class ControlReader(RmaConnection connection, ControlConnection control, ConnectionEnd end, Func<RemoteMemory, RingTarget> import)
{
    /// <summary>Begins to read, without the caller's context.</summary>
    public void Start() => ThreadPool.UnsafeQueueUserWorkItem(static reader => _ = reader.ReadAsync(), this, preferLocal: false);

    private async Task ReadAsync()
    {
        Exception error = new IOException("The control connection has ended.");
        try
        {
            while (true)
            {
                (ControlKind kind, ReadOnlyMemory<byte> payload) = await control.ReadAsync(CancellationToken.None).ConfigureAwait(false);
                if (kind == ControlKind.None)
                    break;
                OnFrame(kind, payload.Span);
            }
        }
        catch (RmaConnectionException e)
        {
            connection.OnViolation(e.Message.TrimEnd('.'));
            error = e;
        }
        catch (Exception e)
        {
            // All exceptions are caught, because nothing more is read, so the connection has ended.
            error = e;
        }
        if (!end.NoteControlEnded())
            connection.End(new ConnectionResetException(Describe(error), error), "the control connection has ended", "peer_ended", tellsPeer: false);
        // This side keeps it open as long as it has writes in flight.
        end.Check();
        control.NoteReadEnded();
    }

    /// <summary>
    /// Describes the error. TCP gives up on a host that does not answer at about the time when the missing heartbeats
    /// end the connection; either may happen first.
    /// </summary>
    private static string Describe(Exception error) => error.GetBaseException() is SocketException { SocketErrorCode: SocketError.TimedOut or SocketError.HostUnreachable or SocketError.NetworkUnreachable }
        ? "The peer's host does not answer, or can't be reached: TCP has given up the control connection after the time of PeerTimeout."
        : "The peer's process has ended, or has closed the control connection.";

    private void OnFrame(ControlKind kind, ReadOnlySpan<byte> payload)
    {
        switch (kind)
        {
            case ControlKind.Heartbeat:
                break;
            case ControlKind.Stop:
                connection.Writer.Discard();
                end.Check();
                break;
            case ControlKind.Abort:
                connection.End(new ConnectionResetException("The peer has aborted the connection."), "aborted by the peer", "peer_aborted", tellsPeer: false);
                break;
            case ControlKind.Damaged:
                connection.OnPeerDamaged(SetUpMessages.ReadDamaged(payload));
                break;
            case ControlKind.Done:
                // The peer gives no more credit, so writes that wait for it would wait forever.
                connection.Writer.Discard();
                end.NotePeerDone();
                break;
            case ControlKind.Offer:
                OnOffer(SetUpMessages.ReadOffer(payload));
                break;
            case ControlKind.Refused:
                string reason = SetUpMessages.ReadRefusal(payload);
                connection.End(new ConnectionResetException($"The listener refused the connection: {reason}"), $"refused by the listener: {reason}", "refused", tellsPeer: false);
                break;
            default:
                throw new RmaConnectionException($"The peer sent a frame of kind {(int)kind}, which is not allowed on an open control connection.");
        }
    }

    private void OnOffer(RemoteMemory? memory)
    {
        RingTarget? target = null;
        if (memory is { } ring)
        {
            try
            {
                target = import(ring);
            }
            catch (Exception e) when (e is RmaException or ArgumentException)
            {
                throw new RmaConnectionException($"The peer offered an unusable ring: {e.Message}", e);
            }
        }
        if (connection.Writer.OnOffer(target))
            return;
        target?.Region.Dispose();
        throw new RmaConnectionException("The peer offered a ring while another offer is pending, or offered the ring that is in use.");
    }
}
