using System.Globalization;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.HostMemory;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Testing;
using AllocTools.Testing.Lies;

namespace AllocTools.TestPeer;

/// <summary>A peer on a fabric that follows the lines on its standard input, and answers each with a line.</summary>
/// <param name="open">Opens the fabric, with changes to the options of its endpoint.</param>
/// <param name="access">The access that its pool grants.</param>
/// <param name="options">Further options.</param>
internal sealed partial class FabricPeer(Func<Action<RmaEndpointOptions>, IRmaContext> open, RmaAccess access, string[] options)
{
    private readonly List<RmaBuffer> _buffers = [];
    private readonly List<RmaExposure> _exposures = [];
    private RmaMemoryPool<HostProvider>? _pool;
    private IRmaContext? _context;
    private IRmaEndpoint? _endpoint;
    private RmaPeer _peer;
    private HashSet<string> _before = [];

    public int Run() => Run(Console.In, Console.Out, static _ => { });

    /// <summary>Follows the lines, and writes the answers.</summary>
    public int Run(TextReader lines, TextWriter answers, Action<IRmaEndpoint> onOpened)
    {
        _before = InheritedDescriptors.Own();
        using IRmaContext context = open(o =>
        {
            o.OperationTimeout = TestTime.Seconds(20);
            if (options.Contains("caller"))
                o.Progress = RmaProgress.Caller;
        });
        using var pool = new RmaMemoryPool<HostProvider>(context, new RmaMemoryPoolOptions
        {
            Access = access,
            Isolation = options.Contains("isolated") ? RmaIsolation.PerExposure : RmaIsolation.Shared,
        });
        using IRmaEndpoint endpoint = context.OpenEndpoint();
        _context = context;
        _pool = pool;
        _endpoint = endpoint;
        onOpened(endpoint);
        while (lines.ReadLine() is { } line)
        {
            string answer;
            try
            {
                answer = Do(line.Split(' '));
            }
            catch (Exception e) when (e is RmaException or InvalidOperationException)
            {
                answer = $"error {e.Message.ReplaceLineEndings(" ")}";
            }
            answers.WriteLine(answer);
            answers.Flush();
        }
        return 0;
    }

    private string Do(string[] words)
    {
        switch (words)
        {
            case ["address"]:
                return Convert.ToBase64String(_endpoint!.Address.Span);
            case ["peer", var address]:
                _peer = _endpoint!.InsertPeer(Convert.FromBase64String(address));
                return "ok";
            case ["rent", var size, var fill]:
                RmaBuffer buffer = _pool!.Rent(Long(size));
                buffer.Span.Fill(byte.Parse(fill, CultureInfo.InvariantCulture));
                _buffers.Add(buffer);
                return (_buffers.Count - 1).ToString(CultureInfo.InvariantCulture);
            case ["expose", var id, var offset, var length, var what]:
                RmaExposure exposure = Buffer(id).Expose(Long(offset), Long(length), Enum.Parse<RmaAccess>(what));
                _exposures.Add(exposure);
                return Convert.ToBase64String(exposure.Remote.ToArray());
            case ["conceal", var id]:
                _exposures[int.Parse(id, CultureInfo.InvariantCulture)].Dispose();
                return "ok";
            case ["again", var id, var fill]:
                // The block is returned, and rented again.
                int index = int.Parse(id, CultureInfo.InvariantCulture);
                (long whole, nint block) = (_buffers[index].Length, _buffers[index].Address);
                _buffers[index].Dispose();
                _buffers[index] = _pool!.Rent(whole);
                _buffers[index].Span.Fill(byte.Parse(fill, CultureInfo.InvariantCulture));
                return _buffers[index].Address == block ? "ok" : "another block";
            case ["fill", var id, var fill]:
                Buffer(id).Span.Fill(byte.Parse(fill, CultureInfo.InvariantCulture));
                return "ok";
            case ["peek", var id, var offset, var length]:
                return Convert.ToHexString(Buffer(id).GetSpan(Long(offset), Long(length)));
            case ["hash", var id]:
                return Convert.ToHexString(System.Security.Cryptography.SHA256.HashData(Buffer(id).Span));
            case ["busy", var id, var offset, var until]:
                // It is busy elsewhere: it never calls the endpoint, and still sees the byte change.
                byte expected = byte.Parse(until, CultureInfo.InvariantCulture);
                nint at = Buffer(id).Address + (nint)Long(offset);
                while (Volatile.Read(ref Byte(at)) != expected)
                    Thread.SpinWait(100);
                return "seen";
            case ["write", var id, var remote]:
                using (RemoteRegion region = _endpoint!.Import(_peer, RemoteMemory.Read(Convert.FromBase64String(remote))))
                    _endpoint.WriteAsync(Buffer(id).Slice(0, region.Length), region).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["read", var id, var remote]:
                using (RemoteRegion region = _endpoint!.Import(_peer, RemoteMemory.Read(Convert.FromBase64String(remote))))
                    _endpoint.ReadAsync(Buffer(id).Slice(0, region.Length), region).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["import", var remote]:
                _endpoint!.Import(_peer, RemoteMemory.Read(Convert.FromBase64String(remote))).Dispose();
                return "ok";
            case ["claim", var what, var address, var length, var key, var milliseconds, var secret, var remote]:
                RemoteMemory claimed = Forged.Of(RemoteMemory.Read(Convert.FromBase64String(remote)), ulong.Parse(address, CultureInfo.InvariantCulture), Long(length), ulong.Parse(key, CultureInfo.InvariantCulture));
                return Claim(what == "write", claimed, TimeSpan.FromMilliseconds(double.Parse(milliseconds, CultureInfo.InvariantCulture)), byte.Parse(secret, CultureInfo.InvariantCulture));
            case ["connect", var rank]:
                // MPI gives each rank the addresses of all ranks.
                IReadOnlyList<ReadOnlyMemory<byte>> addresses = ((MpiEndpoint)_endpoint!).ExchangeAsync(_endpoint.Address).GetAwaiter().GetResult();
                _peer = _endpoint.InsertPeer(addresses[int.Parse(rank, CultureInfo.InvariantCulture)].Span);
                return "ok";
            case ["exchange-alone"]:
                return ((MpiEndpoint)_endpoint!).ExchangeAsync(_endpoint.Address, new CancellationTokenSource(TimeSpan.FromMilliseconds(100)).Token).ContinueWith(static t => t.Status, TaskScheduler.Default).GetAwaiter().GetResult().ToString();
            case ["receive", var id]:
                return _endpoint!.ReceiveAsync(Buffer(id)).AsTask().GetAwaiter().GetResult().Length.ToString(CultureInfo.InvariantCulture);
            case ["send", var id, var length]:
                _endpoint!.SendAsync(Buffer(id).Slice(0, Long(length)), _peer).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["remove"]:
                _endpoint!.RemovePeer(_peer);
                return "ok";
            case ["close"]:
                _endpoint!.Dispose();
                return "ok";
            case ["failure"]:
                SpinWait.SpinUntil(() => _context!.Failure is not null, TestTime.Seconds(30));
                return _context!.Failure?.Message ?? "none";
            case ["leave"]:
                // The answer is sent before the process exits.
                new Thread(static () => Environment.Exit(0)).Start();
                return "leaving";
            case ["processor"]:
                return ThreadTimes().ToString(CultureInfo.InvariantCulture);
            case ["locked"]:
                // proc_pid_status(5)
                return string.Join(' ', File.ReadLines("/proc/self/status").Where(static l => l.StartsWith("VmLck:", StringComparison.Ordinal) || l.StartsWith("VmPin:", StringComparison.Ordinal))
                    .Select(static l => l.Split((char[]?)null, StringSplitOptions.RemoveEmptyEntries)[1]));
            case ["mpi-child", var withVariables]:
                return MpiRank.OpenInChild(bool.Parse(withVariables));
            case ["opened"]:
                return InheritedDescriptors.Own().Except(_before).Count().ToString(CultureInfo.InvariantCulture);
            case ["inherited"]:
                return string.Join(' ', InheritedDescriptors.Inherited(_before).DefaultIfEmpty("nothing"));
            case ["inherited-in-the-end"]:
                return string.Join(' ', InheritedDescriptors.InheritedInTheEnd(_before).DefaultIfEmpty("nothing"));
            case ["inherits", var number]:
                return InheritedDescriptors.IsInheritable(number).ToString();
            case ["variable", var name]:
                return Marshal.PtrToStringUTF8(getenv(name)) ?? "not set";
            case ["notify", var id, var remote, var number]:
                using (RemoteRegion region = _endpoint!.Import(_peer, RemoteMemory.Read(Convert.FromBase64String(remote))))
                    _endpoint.WriteAsync(Buffer(id).Slice(0, region.Length), region, ulong.Parse(number, CultureInfo.InvariantCulture)).AsTask().GetAwaiter().GetResult();
                return "ok";
            case ["fault"]:
                try
                {
                    return NoText()!.Length.ToString(CultureInfo.InvariantCulture);
                }
                catch (NullReferenceException)
                {
                    return "caught";
                }
            default:
                return $"unknown: {string.Join(' ', words)}";
        }
    }

    /// <summary>Writes to memory or reads from it, whether or not it has a right to that.</summary>
    /// <returns>The error, or "ok"; and whether the target's byte was read.</returns>
    private string Claim(bool isWrite, RemoteMemory claimed, TimeSpan patience, byte secret)
    {
        using RmaBuffer bytes = _pool!.Rent(claimed.Length);
        bytes.Span.Fill((byte)(secret + 1));
        string end = "ok";
        try
        {
            using RemoteRegion region = _endpoint!.Import(_peer, claimed);
            ValueTask operation = isWrite ? _endpoint.WriteAsync(bytes, region, patience) : _endpoint.ReadAsync(bytes, region, patience);
            operation.AsTask().GetAwaiter().GetResult();
        }
        catch (Exception e) when (e is RmaOperationException or RmaProviderException)
        {
            end = (e as RmaOperationException)?.ErrorName ?? "refused";
        }
        return $"{end} {!isWrite && bytes.Span.Contains(secret)}";
    }

    /// <summary>
    /// Returns null in a way that the compiler can't see: reading its length is a SIGSEGV, which the runtime turns into
    /// an exception.
    /// </summary>
    [MethodImpl(MethodImplOptions.NoInlining)]
    private static string? NoText() => null;

    /// <summary>Returns what native code reads: <see cref="Environment"/> does not see changes by setenv(3).</summary>
    [LibraryImport("libc", StringMarshalling = StringMarshalling.Utf8)]
    private static partial nint getenv(string name);

    /// <summary>
    /// Returns the processor time of the threads that are not the runtime's, in seconds. The runtime's compiler goes on
    /// for a while.
    /// </summary>
    private static double ThreadTimes()
    {
        long ticks = 0;
        foreach (string task in Directory.GetDirectories("/proc/self/task"))
        {
            // proc_pid_stat(5): user and system time are fields 14 and 15, in ticks of 10 ms.
            if (!File.ReadAllText(Path.Combine(task, "comm")).StartsWith(".NET", StringComparison.Ordinal))
                ticks += File.ReadAllText(Path.Combine(task, "stat")).Split(") ")[^1].Split(' ')[11..13].Sum(t => long.Parse(t, CultureInfo.InvariantCulture));
        }
        return ticks / 100.0;
    }

    private RmaBuffer Buffer(string id) => _buffers[int.Parse(id, CultureInfo.InvariantCulture)];

    private static long Long(string text) => long.Parse(text, CultureInfo.InvariantCulture);

    private static unsafe ref byte Byte(nint address) => ref *(byte*)address;
}
