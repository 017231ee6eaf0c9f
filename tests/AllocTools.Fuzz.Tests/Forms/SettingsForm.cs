using System.Text;
using System.Text.Json;
using AllocTools.Connections.Hosting;
using AllocTools.Connections.Redis;
using AllocTools.Hosting;
using AllocTools.Hosting.Configuration;
using AllocTools.Libfabric;
using AllocTools.Providers;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>The section of a pool in appsettings.json, with its provider, its connections and its directory: each key with values of any kind.</summary>
internal sealed class SettingsForm : ByteForm
{
    private static readonly string[] Values =
    [
        "0", "1", "-1", "2147483648", "9223372036854775807", "-9223372036854775808", "9223372036854775808", "1e400", "0.5", "true", "null", "{}", "[]", "[[]]", "{\"\":\"\"}", "[{}]", "[null]", "{\"a\":{\"b\":1}}",
        "\"\"", "\" \"", "\"never\"", "\"0s\"", "\"10675199.02:48:05.4775807\"", "\"-00:00:01\"", "\"1:2\"", "\"99999999999999999999999999999 d\"", "\"1 KiB\"", "\"8 EiB\"", "\"9223372036854775807 TiB\"", "\"1.5 GiB\"",
        "\"64k\"", "\"79228162514264337593543950335 GB\"", "\"0x10\"", "\"\\u0000\"", "\"\\u202e\"", "\"a\\nb\"", "\"Local, RemoteWrite\"", "\",\"", "\"16\"", "\"999\"", "\"Inline\"", "\"::\"", "\"127.0.0.1\"", "\"65536\"", "\"∞\"",
        "\"=\"", "{\"FI_X\":\"1\"}", "{\"FI_=\":\"1\"}", "{\"UCX_TLS\":\"tcp\"}", "\"redis:6379,ssl=true\"", "\"redis:99999\"", "\"redis:6379,password=a=b,c,ssl=2\"", "\",,=,\"", "\"http://directory\"", "\"file:///etc\"", "\"//x\"", "[{\"BlockSize\":64}]", "[{\"BlockSize\":\"1 GiB\",\"InitialBlocks\":16777216}]",
    ];

    private static readonly string[] Paths =
    [
        .. PathsOf("", OptionKeys.Pool), .. PathsOf("Provider:", LibfabricOptionKeys.All), .. PathsOf("Connections:", ConnectionOptionKeys.All),
        .. PathsOf("Directory:", DirectoryOptionKeys.All), .. PathsOf("Directory:Redis:", RedisDirectoryOptionKeys.All),
        "Provider", "Connections", "Directory", "Directory:Redis", "Directory:Unknown", "Directory:Redis:Unknown", "Unknown", "SizeClasses:0:Unknown", "Provider:Unknown", "", "SizeClasses:x:BlockSize", "SizeClasses:-1:BlockSize", "SizeClasses:2147483648:BlockSize",
    ];

    public override string Name => "settings";

    public override int Inputs => 4_000;

    // A failure contains the value that was found.
    public override int MostWords => 4 * MostLength;

    public override Gen<byte[]> Valid { get; } = Gen.Select(Gen.Int[1, 16], Gen.Int[1, 60], Gen.Bool, static (blocks, seconds, isHot) => Encoding.UTF8.GetBytes(
        $$$"""{"SizeClasses":[{"BlockSize":"64 KiB","InitialBlocks":{{{blocks}}}}],"RentTimeout":"{{{seconds}}}s","ClearOnReturn":{{{(isHot ? "true" : "false")}}},"Provider":{"Provider":"tcp;ofi_rxm","Node":"127.0.0.1","Access":"RemoteWrite","Settings":{"FI_LOG_LEVEL":"warn"},"Endpoint":{"OperationTimeout":"5s"}},"Connections":{"PeerTimeout":"{{{seconds + 10}}}s"},"Directory":{"Lease":"{{{seconds + 10}}}s","Redis":{"Configuration":"redis:6379,ssl=true","KeyPrefix":"a"} } }"""));

    public override Gen<byte[]> Others { get; } = Gen.Select(Gen.OneOf(Paths), Gen.OneOf(Values)).Array[1, 4].Select(static pairs => Encoding.UTF8.GetBytes(
        "{" + string.Join(',', pairs.DistinctBy(static p => p.Item1, StringComparer.OrdinalIgnoreCase).Select(static p => $"{JsonSerializer.Serialize(p.Item1)}:{p.Item2}")) + "}"));

    public override IReadOnlyList<byte[]> Words { get; } = [.. Texts(Encoding.UTF8, Values), .. Paths.Select(static p => Encoding.UTF8.GetBytes($"{JsonSerializer.Serialize(p)}:"))];

    // A whole container is built for each input.
    public override long? MostAllocated(int length) => null;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        IConfiguration configuration;
        try
        {
            using var stream = new MemoryStream([.. "{\"AllocTools\":"u8, .. input.Span, .. "}"u8]);
            configuration = new ConfigurationBuilder().AddJsonStream(stream).Build();
        }
        catch (Exception e) when (e is FormatException or JsonException or InvalidDataException)
        {
            // The framework's parser has refused it, with its own message.
            return "It is not the JSON of settings.";
        }
        catch (InvalidOperationException e) when (e.TargetSite?.DeclaringType?.Namespace?.StartsWith("System.Text.Json", StringComparison.Ordinal) == true)
        {
            return "It is not the JSON of settings: its text is not valid Unicode.";
        }
        var services = new ServiceCollection();
        services.AddLogging();
        services.AddRmaMemoryPool<LibfabricProvider>(configuration.GetSection("AllocTools"));
        services.AddRmaConnections();
        services.AddRmaDirectory().UseRedis();
        using ServiceProvider provider = services.BuildServiceProvider();
        try
        {
            PoolOptions.ThrowIfAnyIsInvalid(provider);
            return null;
        }
        catch (RmaOptionsValidationException e)
        {
            Assert.All(e.Failures, static f => Assert.NotEqual("", f));
            return new string([.. e.Failures.First().Select(static c => char.IsControl(c) ? '?' : c)]);
        }
    }

    private static IEnumerable<string> PathsOf(string section, IEnumerable<RmaOptionKey> keys) =>
        keys.SelectMany(k => PathsOf($"{section}{k.Name}:{(k.Kind == RmaOptionKind.List ? "0:" : "")}", k.Keys).Prepend(section + k.Name));
}
