using System.Globalization;
using System.Net;
using System.Net.Sockets;
using AllocTools.Mpi;
using AllocTools.Regions;
using AllocTools.Testing;

namespace AllocTools.TestPeer;

/// <summary>A rank of an MPI job. It gets its lines over a socket, since mpirun gives its input to one rank only.</summary>
internal static class MpiRank
{
    /// <param name="port">Where the test listens.</param>
    /// <param name="options">caller: the caller makes progress. timeout=SECONDS: of operations. end=SECONDS: of waiting for the other ranks' end. set=NAME=VALUE: a setting of MPI.</param>
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

    /// <summary>A rank that is there because every one must open the provider, and does nothing.</summary>
    public static int Accompany()
    {
        using IRmaContext context = new MpiProvider().Open();
        return 0;
    }

    /// <summary>Opens the provider, and says as what; or why it can't.</summary>
    public static int OpenOnce(string implementation, string seconds)
    {
        MpiOptions options = new()
        {
            Implementation = Enum.Parse<MpiImplementation>(implementation),
            StartTimeout = TimeSpan.FromSeconds(double.Parse(seconds, CultureInfo.InvariantCulture)),
        };
        try
        {
            using IRmaContext context = new MpiProvider(options).Open();
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
}
