using System.Diagnostics;
using System.Text.Json;
using System.Threading.Channels;
using AllocTools.Connections;
using AllocTools.Endpoints;
using AllocTools.Testing;
using Microsoft.AspNetCore.Connections;

namespace AllocTools.Soak;

/// <summary>
/// The other process: it checks what is written into its memory, answers into the memory of the main process, reads
/// from there, and answers over connections. It follows the lines on its standard input, and ends with that input,
/// which also ends when the main process is killed.
/// </summary>
internal sealed class SoakPeer : IDisposable
{
    private const int ReadableBytes = 64 << 10;

    private static readonly TimeSpan LongestEnd = TestTime.Seconds(20);

    private readonly string _fabric;
    private readonly Station _station;
    private readonly Channel<string> _lines = Channel.CreateUnbounded<string>();
    private readonly CancellationTokenSource _ending = new();
    private readonly uint _seed = (uint)Environment.ProcessId;
    private Ledger _ledger = new();
    private RmaBuffer _slots, _readable;
    private RmaExposure? _slotsExposed, _readableExposed;
    private RmaPeer _main;
    private RemoteRegion? _mainReadable;
    private Hello? _mainHello;
    private Task _notified = Task.CompletedTask, _accepting = Task.CompletedTask;

    private SoakPeer(string fabric)
    {
        _fabric = fabric;
        _station = new Station(fabric, listens: true);
    }

    public static async Task<int> RunAsync(string fabric)
    {
        using var peer = new SoakPeer(fabric);
        new Thread(peer.ReadLines) { IsBackground = true, Name = "lines" }.Start();
        await peer.RunAsync();
        return 0;
    }

    public void Dispose() => _ending.Dispose();

    private static void Say(string line)
    {
        Console.Out.WriteLine(line);
        Console.Out.Flush();
    }

    /// <summary>
    /// A call into a transport may never return. So the end of the standard input ends the process by force if nothing
    /// else does.
    /// </summary>
    private void ReadLines()
    {
        while (Console.In.ReadLine() is { } line)
            _lines.Writer.TryWrite(line);
        _lines.Writer.Complete();
        _ending.Cancel();
        Thread.Sleep(LongestEnd);
        Process.GetCurrentProcess().Kill();
    }

    private async Task RunAsync()
    {
        await GreetAsync();
        bool isEnding = false;
        while (!isEnding && !_ending.IsCancellationRequested)
        {
            // Reads continue until the next order.
            using var pausing = CancellationTokenSource.CreateLinkedTokenSource(_ending.Token);
            Task reading = ReadMainAsync(pausing.Token);
            string? order = await NextAsync();
            await pausing.CancelAsync();
            await reading;
            while (order is Order.Pause or Order.Renew)
            {
                if (order == Order.Pause)
                {
                    Say(Answer(await _station.SampleAsync(TimeSpan.Zero, CancellationToken.None)));
                }
                else
                {
                    Detach();
                    await _station.RenewAsync();
                    await GreetAsync();
                }
                order = await NextAsync();
            }
            isEnding = order == Order.End;
        }
        Detach();
        await _station.DisposeAsync();
        await Task.WhenAll(_notified, _accepting);
        foreach (string leftover in _station.FindLeftovers())
            _ledger.AddFault(leftover);
        if (isEnding)
            Say(Answer(sample: null));
    }

    private async Task<string?> NextAsync() => await _lines.Reader.WaitToReadAsync() && _lines.Reader.TryRead(out string? line) ? line : null;

    private string Answer(Sample? sample)
    {
        Ledger done = Interlocked.Exchange(ref _ledger, new Ledger());
        return JsonSerializer.Serialize(new PeerAnswer { Done = done.Done, Documented = done.Documented, WrongBytes = done.WrongBytes, Faults = done.Faults, Sample = sample }, WordsJson.Default.PeerAnswer);
    }

    /// <summary>Exposes its memory, sends its address, and reads the hello of the main process.</summary>
    private async Task GreetAsync()
    {
        _slots = _station.Pool.Rent(Request.Slots * Request.SlotBytes);
        _slotsExposed = _slots.Expose(RmaAccess.RemoteWrite);
        _readable = _station.Pool.Rent(ReadableBytes);
        Pattern.Fill(_readable.Span, _seed);
        _readableExposed = _readable.Expose(RmaAccess.RemoteRead);
        Say(JsonSerializer.Serialize(new Hello
        {
            Address = _station.Endpoint.Address.ToArray(),
            Slots = _slotsExposed.Remote.ToArray(),
            Readable = _readableExposed.Remote.ToArray(),
            Seed = _seed,
            Port = _station.Port,
        }, WordsJson.Default.Hello));
        if (await NextAsync() is not { } line)
            return;
        _mainHello = JsonSerializer.Deserialize(line, WordsJson.Default.Hello)!;
        _main = _station.Endpoint.InsertPeer(_mainHello.Address);
        _mainReadable = _station.Endpoint.Import(_main, RemoteMemory.Read(_mainHello.Readable));
        _notified = ServeRequestsAsync(_station.Endpoint, _mainHello.Peer);
        _accepting = AcceptAsync(_station.Listener!);
    }

    private void Detach()
    {
        if (_mainReadable is { } region)
        {
            region.Dispose();
            _station.Endpoint.RemovePeer(_main);
            _mainReadable = null;
        }
        _slotsExposed!.Dispose();
        _readableExposed!.Dispose();
        _slots.Dispose();
        _readable.Dispose();
    }

    private async Task ReadMainAsync(CancellationToken pausing)
    {
        if (_mainReadable is not { } region)
            return;
        var random = new Random((int)_seed);
        try
        {
            while (!pausing.IsCancellationRequested)
            {
                int length = random.Next(1, (int)region.Length + 1);
                using RmaBuffer room = await _station.Pool.RentAsync(length, CancellationToken.None);
                await _station.Endpoint.ReadAsync(room.Slice(0, length), region.Slice(0, length), cancellationToken: CancellationToken.None);
                _ledger.AddWrong("read by a peer from the main process", Pattern.CountWrong(room.Span, _mainHello!.Seed));
                _ledger.Count("reads by peers");
                _ledger.Count("bytes", length);
                // Leave some processor time to the main process.
                await Task.Delay(random.Next(3), pausing).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
            }
        }
        catch (RmaException e)
        {
            Note("A peer's read of the main process failed", e);
        }
    }

    private async Task ServeRequestsAsync(IRmaEndpoint endpoint, int number)
    {
        List<Task> serving = [];
        try
        {
            await foreach (RmaNotification notification in endpoint.ReadNotificationsAsync(CancellationToken.None))
            {
                serving.RemoveAll(static t => t.IsCompleted);
                serving.Add(AnswerAsync(endpoint, number, (int)notification.Value));
            }
        }
        catch (RmaException e)
        {
            Note("Notifications can't be read", e);
        }
        await Task.WhenAll(serving);
    }

    private async Task AnswerAsync(IRmaEndpoint endpoint, int number, int slot)
    {
        try
        {
            Request request = Request.Read(_slots.GetSpan((long)slot * Request.SlotBytes, Request.SlotBytes), out int wrong);
            _ledger.AddWrong("written by the main process to a peer", wrong);
            using RmaBuffer answer = await _station.Pool.RentAsync(request.AnswerLength);
            Pattern.Fill(answer.Span, request.AnswerSeed);
            using RemoteRegion destination = endpoint.Import(_main, RemoteMemory.Read(request.Answer));
            await endpoint.WriteAsync(answer.Slice(0, request.AnswerLength), destination, Request.Notification(number, slot, wrong == 0));
            _ledger.Count("writes by peers");
            _ledger.Count("bytes", request.AnswerLength);
        }
        catch (Exception e) when (e is RmaException or InvalidDataException or ObjectDisposedException)
        {
            Note("A peer's answer failed", e);
        }
    }

    private async Task AcceptAsync(RmaConnectionListener listener)
    {
        List<Task> serving = [];
        while (await listener.AcceptAsync() is { } connection)
        {
            serving.RemoveAll(static t => t.IsCompleted);
            serving.Add(ServeAsync((RmaConnection)connection));
        }
        await Task.WhenAll(serving);
    }

    private async Task ServeAsync(RmaConnection connection)
    {
        byte[] room = Frame.Room();
        try
        {
            await using (connection)
            {
                Stream stream = connection.AsStream();
                while (await Frame.ReadAsync(stream, room, CancellationToken.None) is var (length, seed, wrong))
                {
                    _ledger.AddWrong("sent by the main process over a connection", wrong);
                    await Frame.WriteAsync(stream, room, length, wrong == 0 ? seed + 1 : seed + 2, CancellationToken.None);
                }
                await connection.Output.CompleteAsync();
            }
        }
        catch (Exception e) when (Station.PeersHoldUpOthers(_fabric) && (e is ConnectionResetException || e.GetType() == typeof(IOException)))
        {
            // The main process has lost the connection behind a peer that was killed, which is checked there.
            _ledger.AddDocumented($"A peer's side of a connection beside a killed peer: {e.GetType().Name}");
        }
        catch (Exception e) when (e is RmaException or InvalidDataException or IOException or ConnectionAbortedException)
        {
            Note("A peer's side of a connection failed", e);
        }
    }

    /// <summary>The main process is not killed, so nothing may fail; errors of a peer that is ending are ignored.</summary>
    private void Note(string what, Exception e)
    {
        if (!_ending.IsCancellationRequested)
            _ledger.AddFault($"{what} over {_fabric}: {e.GetType().Name}: {e.Message}");
    }
}
