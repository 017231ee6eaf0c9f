using System.Text;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.HostMemory;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Configuration;
using Microsoft.Extensions.DependencyInjection;

namespace AllocTools.Fuzz.Tests.Forms;

/// <summary>
/// A request to a peer of the directory, as MapRmaDirectory receives it: method, path and query in a line, then the
/// body.
/// </summary>
internal sealed class DirectoryRequestForm : ByteForm
{
    private readonly WebApplication _application;
    private readonly RequestDelegate _answer;

    public DirectoryRequestForm()
    {
        WebApplicationBuilder builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions());
        builder.WebHost.UseKestrelCore();
        builder.Services.AddRoutingCore();
        builder.Configuration.AddInMemoryCollection(new Dictionary<string, string?> { ["AllocTools:Directory:Peers"] = "http://directory" });
        builder.Services.AddRmaMemoryPool<HostProvider>(builder.Configuration.GetSection("AllocTools"));
        builder.Services.AddRmaDirectory(static o => (o.MaxEntriesPerName, o.MaxEntries, o.MaxBytes) = (10_000, 1_000_000, 1 << 30));
        _application = builder.Build();
        _application.UseRouting();
        _application.MapRmaDirectory();
        _application.UseEndpoints(static _ => { });
        _answer = ((IApplicationBuilder)_application).Build();
    }

    public override string Name => "directory-request";

    public override int Inputs => 3_000;

    public override int MostLength => 20 << 10;

    public override Gen<byte[]> Valid { get; } = Gen.OneOf(
        Gen.Select(DirectoryRecordForm.Record, Gen.Int[1, 3_600_000], static (record, lease) => (byte[])
            [.. Encoding.ASCII.GetBytes($"PUT /{record.Entry.Name}/{record.Entry.Process:N}?lease={lease}\n"), .. (record with { Revision = 1 + (record.Revision % 1_000_000) }).Encode()]),
        Gen.Select(Gen.Guid, Gen.Int[0, 1_000], static (process, revision) => Encoding.ASCII.GetBytes($"DELETE /{DirectoryRecordForm.Service}/{process:N}?revision={revision}\n")),
        Gen.Const("GET /orders\n"u8.ToArray()));

    public override IReadOnlyList<byte[]> Words { get; } =
    [
        .. Texts(Encoding.UTF8, "/", "?", "&", "lease=", "lease=-1", "revision=99999999999999999999", "%00", "..", "//", "PUT ", "GET ", "DELETE ", "POST ", "\0", "é"),
        .. DirectoryRecordForm.Pieces,
    ];

    // Routing and the answer's pipes belong to ASP.NET.
    public override long? MostAllocated(int length) => null;

    public override string? Read(ReadOnlyMemory<byte> input)
    {
        int end = input.Span.IndexOf((byte)'\n');
        string line = Encoding.UTF8.GetString(end < 0 ? input.Span : input.Span[..end]);
        string[] words = line.Split(' ', 2);
        string[] target = words.Length < 2 ? ["/"] : words[1].Split('?', 2);
        if (!target[0].StartsWith('/') || target[0].Contains('\0'))
            return "The server takes no such path.";
        using IServiceScope scope = _application.Services.CreateScope();
        using var answer = new MemoryStream();
        var context = new DefaultHttpContext { RequestServices = scope.ServiceProvider };
        context.Request.Method = words[0];
        context.Request.Path = new PathString(DirectoryWire.DefaultPath + target[0]);
        context.Request.QueryString = target.Length < 2 ? default : new QueryString("?" + target[1]);
        context.Request.Body = new MemoryStream(end < 0 ? [] : input.Span[(end + 1)..].ToArray());
        context.Response.Body = answer;
        _answer(context).GetAwaiter().GetResult();
        string text = Encoding.UTF8.GetString(answer.ToArray());
        switch (context.Response.StatusCode)
        {
            case StatusCodes.Status200OK or StatusCodes.Status204NoContent:
                return null;
            case StatusCodes.Status404NotFound or StatusCodes.Status405MethodNotAllowed:
                return "There is nothing there.";
            default:
                Assert.Contains(context.Response.StatusCode, new[] { StatusCodes.Status400BadRequest, StatusCodes.Status409Conflict, StatusCodes.Status413PayloadTooLarge, StatusCodes.Status507InsufficientStorage });
                return text;
        }
    }

    protected override void Close() => ((IDisposable)_application).Dispose();
}
