using System.Globalization;
using System.IO.Pipes;
using AllocTools.HostMemory;

namespace AllocTools.TestPeer;

/// <summary>
/// Two peers on the host provider, which reaches nobody outside the process. A line begins with the number of the peer
/// that it is for.
/// </summary>
internal static class InsidePeers
{
    public static int Run()
    {
        using Side first = new();
        using Side second = new();
        Side[] sides = [first, second];
        while (Console.In.ReadLine() is { } line)
            Console.Out.WriteLine(sides[int.Parse(line.AsSpan(0, 1), NumberStyles.None, CultureInfo.InvariantCulture)].Ask(line[2..]));
        return 0;
    }

    private sealed class Side : IDisposable
    {
        private readonly AnonymousPipeServerStream _lines = new(PipeDirection.Out);
        private readonly AnonymousPipeServerStream _answers = new(PipeDirection.In);
        private readonly StreamWriter _writer;
        private readonly StreamReader _reader;
        private readonly Thread _thread;

        public Side()
        {
            _writer = new StreamWriter(_lines) { AutoFlush = true };
            _reader = new StreamReader(_answers);
            _thread = new Thread(Serve);
            _thread.Start();
        }

        public string? Ask(string line)
        {
            _writer.WriteLine(line);
            return _reader.ReadLine();
        }

        public void Dispose()
        {
            _writer.Dispose();
            _thread.Join();
            _reader.Dispose();
        }

        private void Serve()
        {
            using var lines = new StreamReader(new AnonymousPipeClientStream(PipeDirection.In, _lines.ClientSafePipeHandle));
            using var answers = new StreamWriter(new AnonymousPipeClientStream(PipeDirection.Out, _answers.ClientSafePipeHandle));
            new FabricPeer(Open, RmaAccess.RemoteRead | RmaAccess.RemoteWrite, ["isolated"]).Run(lines, answers, static _ => { });
        }

        private static Regions.IRmaContext Open(Action<Endpoints.RmaEndpointOptions> configure)
        {
            HostProviderOptions options = new() { Locking = PageLocking.None };
            configure(options.Endpoint);
            return new HostProvider(options).Open();
        }
    }
}
