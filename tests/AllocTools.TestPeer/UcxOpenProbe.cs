using System.Runtime.InteropServices;
using AllocTools.Endpoints;
using AllocTools.Regions;
using AllocTools.Ucx;

namespace AllocTools.TestPeer;

/// <summary>
/// Prints whether UCX is available, and opens an endpoint with each of some libraries, in a process that has not loaded
/// any before.
/// </summary>
internal static class UcxOpenProbe
{
    /// <param name="words">Libraries to open with; <c>load:</c> and a library that the process loads itself; settings
    /// such as <c>UCX_X=y</c> for the libraries after them.</param>
    public static int Run(string[] words)
    {
        Console.Out.WriteLine($"{(UcxProvider.IsSupported ? "there" : UcxProvider.NotSupportedReason)}, {Mapped()} mapped");
        Dictionary<string, string> settings = [];
        foreach (string word in words)
        {
            if (word.StartsWith("load:", StringComparison.Ordinal))
                _ = NativeLibrary.Load(word["load:".Length..]);
            else if (word.Split('=') is [var name, var value])
                settings[name] = value;
            else
                Console.Out.WriteLine(Open(word, settings));
        }
        return 0;
    }

    private static string Open(string path, Dictionary<string, string> settings)
    {
        UcxOptions options = new() { LibraryPath = path, Transports = "tcp", Devices = "lo" };
        foreach ((string name, string value) in settings)
            options.Settings[name] = value;
        try
        {
            using IRmaContext context = new UcxProvider(options).Open();
            using IRmaEndpoint endpoint = context.OpenEndpoint();
            return "opened";
        }
        catch (RmaProviderException e)
        {
            return e.Message;
        }
    }

    private static int Mapped() => File.ReadLines("/proc/self/maps").Count(static l => l.Contains("/libucs.so", StringComparison.Ordinal) || l.Contains("/libucp.so", StringComparison.Ordinal));
}
