using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Text;
using AllocTools.Testing;
using Xunit;

namespace AllocTools.Mpi.Tests;

/// <summary>A job that was started by an mpirun: one test peer per rank, each of which answers lines with lines.</summary>
/// <remarks>mpirun passes its standard input to one rank only, so ranks connect to a socket of the test.</remarks>
internal sealed class MpiRanks : IAsyncDisposable
{
    private static readonly TimeSpan AnswerTime = TestTime.Seconds(60);

    private readonly Process _mpirun;
    private readonly StringBuilder _output = new();
    private readonly Rank[] _ranks;
    private readonly Action<string> _note = FailureNotesAttribute.ForCurrentTest;

    private MpiRanks(Process mpirun, int count)
    {
        _mpirun = mpirun;
        _ranks = new Rank[count];
        _mpirun.OutputDataReceived += Keep;
        _mpirun.ErrorDataReceived += Keep;
        _mpirun.BeginOutputReadLine();
        _mpirun.BeginErrorReadLine();
    }

    /// <summary>Gets both implementations.</summary>
    public static TheoryData<MpiImplementation> Implementations => [MpiImplementation.OpenMpi, MpiImplementation.Mpich];

    /// <summary>Returns the mpirun command, with the options to run as root and with more ranks than processors.</summary>
    public static string[] Command(MpiImplementation implementation) => implementation == MpiImplementation.OpenMpi
        ? ["mpirun.openmpi", "--allow-run-as-root", "--oversubscribe"]
        : ["mpirun.mpich"];

    /// <summary>Gets the path of the test peer.</summary>
    public static string Program => Path.Combine(PeerProcess.BuiltFolder, "AllocTools.TestPeer");

    /// <summary>Starts a job.</summary>
    /// <param name="implementation">The implementation whose mpirun is used.</param>
    /// <param name="count">The number of ranks.</param>
    /// <param name="options">Options of the peers, such as <c>caller</c>.</param>
    /// <param name="wrapper">A command that starts each rank, such as <c>prlimit</c>.</param>
    /// <param name="kind">The kind of test peer.</param>
    public static async Task<MpiRanks> StartAsync(MpiImplementation implementation, int count = 2, string[]? options = null, string[]? wrapper = null, string kind = "mpi")
    {
        using TcpListener listener = new(IPAddress.Loopback, 0);
        listener.Start();
        string port = ((IPEndPoint)listener.LocalEndpoint).Port.ToString(CultureInfo.InvariantCulture);
        string[] command = [.. Command(implementation), "-n", count.ToString(CultureInfo.InvariantCulture), .. wrapper ?? [], Program, kind, port, .. options ?? []];
        MpiRanks ranks = new(StartProcess(command), count);
        try
        {
            for (int i = 0; i < count; i++)
            {
                TcpClient client = await listener.AcceptTcpClientAsync().WaitAsync(AnswerTime);
                Rank rank = new(client);
                string[] words = (await rank.AnswerAsync(AnswerTime)).Split(' ');
                rank.ProcessId = int.Parse(words[1], CultureInfo.InvariantCulture);
                ranks._ranks[int.Parse(words[0], CultureInfo.InvariantCulture)] = rank;
            }
            return ranks;
        }
        catch
        {
            await ranks.DisposeAsync();
            throw;
        }
    }

    /// <summary>Runs a command until it exits.</summary>
    /// <returns>Its exit code, and what it has printed.</returns>
    public static async Task<(int ExitCode, string Output)> RunAsync(string[] command, TimeSpan limit, IReadOnlyDictionary<string, string?>? environment = null)
    {
        using Process process = StartProcess(command, environment);
        process.StandardInput.Close();
        Task<string> output = process.StandardOutput.ReadToEndAsync();
        Task<string> errors = process.StandardError.ReadToEndAsync();
        try
        {
            await process.WaitForExitAsync().WaitAsync(limit);
        }
        catch (TimeoutException)
        {
            process.Kill(entireProcessTree: true);
        }
        return (process.HasExited ? process.ExitCode : -1, await output + await errors);
    }

    /// <summary>Sends a line to a rank and returns its answer.</summary>
    public async Task<string> AskAsync(int rank, string line)
    {
        await TellAsync(rank, line);
        return await AnswerAsync(rank);
    }

    public Task TellAsync(int rank, string line) => _ranks[rank].TellAsync(line);

    public Task<string> AnswerAsync(int rank) => _ranks[rank].AnswerAsync(AnswerTime);

    public int ProcessIdOf(int rank) => _ranks[rank].ProcessId;

    /// <summary>Lets a rank end on its own, as far as the others allow it.</summary>
    public void End(int rank) => _ranks[rank].Dispose();

    /// <summary>Lets the ranks end on their own, and mpirun with them.</summary>
    /// <returns>mpirun's exit code, and what it and the ranks have printed.</returns>
    public async Task<(int ExitCode, string Output)> EndAsync()
    {
        foreach (Rank rank in _ranks)
            rank.Dispose();
        return await WaitAsync();
    }

    /// <summary>Waits until mpirun has ended.</summary>
    public async Task<(int ExitCode, string Output)> WaitAsync()
    {
        await _mpirun.WaitForExitAsync().WaitAsync(AnswerTime);
        lock (_output)
            return (_mpirun.ExitCode, _output.ToString());
    }

    public async ValueTask DisposeAsync()
    {
        foreach (Rank? rank in _ranks)
            rank?.Dispose();
        if (!_mpirun.HasExited)
        {
            try
            {
                await _mpirun.WaitForExitAsync().WaitAsync(TestTime.Seconds(10));
            }
            catch (TimeoutException)
            {
                _note("mpirun did not end by itself.");
                _mpirun.Kill(entireProcessTree: true);
                await _mpirun.WaitForExitAsync();
            }
        }
        lock (_output)
            _note($"The job said:\n{_output}");
        _mpirun.Dispose();
    }

    private static Process StartProcess(string[] command, IReadOnlyDictionary<string, string?>? environment = null)
    {
        ProcessStartInfo start = new(command[0], command[1..])
        {
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        foreach ((string name, string? value) in environment ?? new Dictionary<string, string?>())
            start.Environment[name] = value;
        return Process.Start(start)!;
    }

    private void Keep(object sender, DataReceivedEventArgs line)
    {
        lock (_output)
            _output.AppendLine(line.Data);
    }

    private sealed class Rank(TcpClient client) : IDisposable
    {
        private readonly StreamReader _reader = new(client.GetStream());
        private readonly StreamWriter _writer = new(client.GetStream()) { AutoFlush = true };

        public int ProcessId { get; set; }

        public async Task<string> AnswerAsync(TimeSpan limit) =>
            await _reader.ReadLineAsync().WaitAsync(limit) ?? throw new InvalidOperationException("The rank has ended.");

        public Task TellAsync(string line) => _writer.WriteLineAsync(line);

        public void Dispose() => client.Dispose();
    }
}
