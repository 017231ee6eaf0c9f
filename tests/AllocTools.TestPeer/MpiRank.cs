using System.Diagnostics;
using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Testing;
using Microsoft.Extensions.Logging;

namespace AllocTools.TestPeer;

/// <summary>A rank of an MPI job. It gets its lines over a socket, since mpirun gives its input to one rank only.</summary>
internal static class MpiRank
{
    /// <param name="port">The port at which the test listens.</param>
    /// <param name="options">caller: the caller makes progress. timeout=SECONDS: time limit of operations. end=SECONDS:
    /// how long to wait for the other ranks' end. set=NAME=VALUE: a setting of MPI.</param>
    public static int Run(int port, string[] options)
    {
        using TcpClient client = new();
        client.Connect(IPAddress.Loopback, port);
        using StreamReader lines = new(client.GetStream());
        using StreamWriter answers = new(client.GetStream()) { AutoFlush = true };
        return new FabricPeer(c => Open(options, c), RmaAccess.RemoteRead | RmaAccess.RemoteWrite, options)
            .Run(lines, answers, endpoint => answers.WriteLine($"{((MpiEndpoint)endpoint).Rank} {Environment.ProcessId}"));
    }

    private static IRmaContext Open(string[] words, Action<RmaEndpointOptions> configure)
    {
        MpiOptions options = new() { StartTimeout = TestTime.Seconds(60) };
        configure(options.Endpoint);
        if (words.SingleOrDefault(static w => w.StartsWith("timeout=", StringComparison.Ordinal)) is { } timeout)
            options.Endpoint.OperationTimeout = TimeSpan.FromSeconds(double.Parse(timeout["timeout=".Length..], CultureInfo.InvariantCulture));
        if (words.SingleOrDefault(static w => w.StartsWith("end=", StringComparison.Ordinal)) is { } end)
            options.EndTimeout = TimeSpan.FromSeconds(double.Parse(end["end=".Length..], CultureInfo.InvariantCulture));
        foreach (string word in words.Where(static w => w.StartsWith("set=", StringComparison.Ordinal)))
            options.Settings[word.Split('=')[1]] = word.Split('=')[2];
        return new MpiProvider(options).Open();
    }

    /// <summary>Runs a rank that does nothing, but is needed because every rank must open the provider.</summary>
    public static int Accompany()
    {
        using IRmaContext context = new MpiProvider().Open();
        return 0;
    }

    /// <summary>
    /// Opens the provider with each library, or the usual one, and prints what was opened, or why it can't be. Warnings
    /// are printed, too.
    /// </summary>
    public static int Open(string implementation, string seconds, params string[] paths)
    {
        using ILoggerFactory logs = LoggerFactory.Create(static l => l.AddProvider(new WarningPrinter()));
        int status = 0;
        foreach (string path in paths.DefaultIfEmpty(""))
            status = OpenOnce(implementation, seconds, path, logs);
        return status;
    }

    private static int OpenOnce(string implementation, string seconds, string path, ILoggerFactory logs)
    {
        MpiOptions options = new()
        {
            Implementation = Enum.Parse<MpiImplementation>(implementation),
            StartTimeout = TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture)),
            LibraryPath = path,
        };
        try
        {
            using IRmaContext context = new MpiProvider(options, logs).Open();
            using var endpoint = (MpiEndpoint)context.OpenEndpoint();
            Console.WriteLine($"{context.Traits.ProviderName}, rank {endpoint.Rank} of {endpoint.RankCount}");
            return 0;
        }
        catch (RmaProviderException e)
        {
            Console.WriteLine(e.Message);
            return 1;
        }
    }

    /// <summary>
    /// Starts a child that opens the provider with MPICH, with or without the variables of this rank, and returns the
    /// child's output.
    /// </summary>
    public static string OpenInChild(bool withVariables)
    {
        ProcessStartInfo start = new(Environment.ProcessPath!, ["mpi-open", nameof(MpiImplementation.Mpich), "20"]) { RedirectStandardOutput = true, RedirectStandardError = true };
        string[] own = ["OMPI_", "PMIX_", "PMI_", "MPI_LOCAL", "HYDI_"];
        foreach (string name in start.Environment.Keys.Where(n => !withVariables && own.Any(p => n.StartsWith(p, StringComparison.Ordinal))).ToArray())
            start.Environment.Remove(name);
        using Process child = Process.Start(start)!;
        Task<string> errors = child.StandardError.ReadToEndAsync();
        string said = child.StandardOutput.ReadToEnd();
        child.WaitForExit();
        _ = errors.GetAwaiter().GetResult();
        return $"{child.ExitCode} {said.ReplaceLineEndings(" ")}";
    }

    /// <summary>Asks whether MPI is available, and prints how many of its libraries are mapped then.</summary>
    public static int AskOnly()
    {
        bool isThere = MpiProvider.IsSupported;
        int mapped = File.ReadLines("/proc/self/maps").Count(static l => l.Contains("/libmpi", StringComparison.Ordinal));
        Console.WriteLine($"{(isThere ? "there" : MpiProvider.NotSupportedReason)}, {mapped} mapped");
        return isThere ? 0 : 1;
    }

    /// <summary>Sends itself SIGTERM, for which it has registered a handler while MPI waited for the other rank.</summary>
    /// <param name="mark">A file that the other rank waits for.</param>
    public static int HearSignal(string mark)
    {
        if ((Environment.GetEnvironmentVariable("PMI_RANK") ?? Environment.GetEnvironmentVariable("OMPI_COMM_WORLD_RANK")) != "0")
        {
            if (!SpinWait.SpinUntil(() => File.Exists(mark), TestTime.Seconds(30)))
                return 3;
            return Accompany();
        }
        Task<IRmaContext> opening = Task.Run(static () => new MpiProvider().Open());
        // MPI installs its signal handlers during initialization, before it opens its sockets or files.
        if (!SpinWait.SpinUntil(static () => File.ReadLines("/proc/self/maps").Any(static l => l.Contains("/libmpi", StringComparison.Ordinal)), TestTime.Seconds(30)))
            return 3;
        using ManualResetEventSlim heard = new();
        using var asked = PosixSignalRegistration.Create(PosixSignal.SIGTERM, context =>
        {
            context.Cancel = true;
            heard.Set();
        });
        bool isStarting = !opening.IsCompleted;
        File.WriteAllText(mark, "");
        using IRmaContext context = opening.GetAwaiter().GetResult();
        using (var kill = Process.Start("kill", ["-TERM", Environment.ProcessId.ToString(CultureInfo.InvariantCulture)]))
            kill.WaitForExit();
        Console.WriteLine($"asked while it starts: {isStarting}, {(heard.Wait(TestTime.Seconds(10)) ? "heard" : "not heard")}");
        return 0;
    }

    private sealed class WarningPrinter : ILoggerProvider, ILogger
    {
        public ILogger CreateLogger(string categoryName) => this;

        public IDisposable? BeginScope<TState>(TState state)
            where TState : notnull => null;

        public bool IsEnabled(LogLevel logLevel) => logLevel >= LogLevel.Warning;

        public void Log<TState>(LogLevel logLevel, EventId eventId, TState state, Exception? exception, Func<TState, Exception?, string> formatter) =>
            Console.WriteLine($"{logLevel} {eventId.Id}: {formatter(state, exception)}");

        public void Dispose()
        {
        }
    }
}
