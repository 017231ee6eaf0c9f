using System.Buffers;
using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Text.Json;
using AllocTools.Connections;
using AllocTools.Connections.Directories;
using AllocTools.Validation;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Routing;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;
using Microsoft.Extensions.Options;

namespace Microsoft.AspNetCore.Builder;

/// <summary>Makes a web application keep the directory of its peers.</summary>
public static class RmaDirectoryEndpointRouteBuilderExtensions
{
    /// <summary>
    /// Makes this application keep the directory, in memory: peers publish and resolve here. All applications that
    /// <see cref="RmaDirectoryOptions.Peers"/> resolves to must call this.
    /// </summary>
    /// <remarks>
    /// Entries contain keys to memory. Use HTTPS, and require authentication if others can reach this application: <c>app.MapRmaDirectory().RequireAuthorization()</c>.
    /// </remarks>
    /// <param name="endpoints">The application, with <c>AddRmaDirectory</c>.</param>
    /// <param name="pattern">The path.</param>
    /// <returns>A builder for conventions of the endpoints.</returns>
    /// <exception cref="InvalidOperationException"><c>AddRmaDirectory</c> was not called.</exception>
    public static IEndpointConventionBuilder MapRmaDirectory(this IEndpointRouteBuilder endpoints, [StringSyntax("Route")] string pattern = DirectoryWire.DefaultPath)
    {
        ArgumentNullException.ThrowIfNull(endpoints);
        ArgumentNullException.ThrowIfNull(pattern);
        IServiceProvider services = endpoints.ServiceProvider;
        var peer = new Peer(
            services.GetService<DirectoryTable>() ?? throw new InvalidOperationException("MapRmaDirectory needs builder.Services.AddRmaDirectory()."),
            services.GetRequiredService<IOptions<RmaDirectoryOptions>>().Value,
            services.GetRequiredService<IHostApplicationLifetime>(),
            services.GetService<TimeProvider>() ?? TimeProvider.System,
            services.GetRequiredService<ILoggerFactory>().CreateLogger(ConnectionsLog.DirectoryCategory));
        RouteGroupBuilder group = endpoints.MapGroup(pattern);
        group.MapPut("/{name}/{process}", (RequestDelegate)peer.PutAsync);
        group.MapDelete("/{name}/{process}", (RequestDelegate)peer.RemoveAsync);
        group.MapGet("/{name}", (RequestDelegate)peer.GetAsync);
        return group;
    }

    private sealed class Peer(DirectoryTable table, RmaDirectoryOptions options, IHostApplicationLifetime lifetime, TimeProvider time, ILogger logger)
    {
        private readonly Lock _gate = new();
        private long? _loggedAt;
        private long _others;

        public async Task PutAsync(HttpContext context)
        {
            if (!TryReadKey(context, out string name, out Guid process, out string? error))
            {
                await RefuseAsync(context, StatusCodes.Status400BadRequest, error).ConfigureAwait(false);
                return;
            }
            if (!DirectoryWire.TryReadMilliseconds(context.Request.Query["lease"], TimeSpan.FromHours(1), out TimeSpan lease) || lease <= TimeSpan.Zero)
            {
                await RefuseAsync(context, StatusCodes.Status400BadRequest, "the query must have 'lease', between 1 and 3600000 milliseconds").ConfigureAwait(false);
                return;
            }
            byte[]? body = await ReadBodyAsync(context).ConfigureAwait(false);
            if (body is null)
            {
                await RefuseAsync(context, StatusCodes.Status413PayloadTooLarge, $"the entry is longer than this peer's MaxEntryBytes, {InWords.Size(options.MaxEntryBytes)}").ConfigureAwait(false);
                return;
            }
            if (!DirectoryRecord.TryRead(body, name, out DirectoryRecord? record, out error))
                await RefuseAsync(context, StatusCodes.Status400BadRequest, error).ConfigureAwait(false);
            else if (record.Entry.Process != process)
                await RefuseAsync(context, StatusCodes.Status400BadRequest, "the process of the entry must be the one in the path").ConfigureAwait(false);
            else if (table.Put(record, record.Encode(), lease) is (int status, string reason))
                await RefuseAsync(context, status, reason).ConfigureAwait(false);
            else
                context.Response.StatusCode = StatusCodes.Status204NoContent;
        }

        public Task RemoveAsync(HttpContext context)
        {
            if (!TryReadKey(context, out string name, out Guid process, out string? error))
                return RefuseAsync(context, StatusCodes.Status400BadRequest, error);
            if (!long.TryParse(context.Request.Query["revision"], NumberStyles.None, CultureInfo.InvariantCulture, out long revision))
                return RefuseAsync(context, StatusCodes.Status400BadRequest, "the query must have 'revision', a whole number");
            table.Remove(name, process, revision);
            context.Response.StatusCode = StatusCodes.Status204NoContent;
            return Task.CompletedTask;
        }

        public async Task GetAsync(HttpContext context)
        {
            var name = (string)context.Request.RouteValues["name"]!;
            if (RmaDirectoryEntry.FindErrorOfName(name, "an entry") is { } error)
            {
                await RefuseAsync(context, StatusCodes.Status400BadRequest, error).ConfigureAwait(false);
                return;
            }
            string? known = context.Request.Headers.IfNoneMatch is [{ Length: > 2 } quoted] ? quoted.Trim('"') : null;
            if (known is not null && DirectoryWire.TryReadMilliseconds(context.Request.Query["wait"], DirectoryWire.MostWait, out TimeSpan wait))
            {
                using var ends = CancellationTokenSource.CreateLinkedTokenSource(context.RequestAborted, lifetime.ApplicationStopping);
                try
                {
                    await table.WaitAsync(name, known, wait, ends.Token).ConfigureAwait(false);
                }
                catch (OperationCanceledException) when (!context.RequestAborted.IsCancellationRequested)
                {
                    // The application is stopping, so the current state is the answer.
                }
            }
            (List<(byte[] Encoded, TimeSpan Left)> entries, string tag) = table.Read(name);
            context.Response.Headers.ETag = $"\"{tag}\"";
            context.Response.Headers.CacheControl = "no-store";
            if (tag == known)
            {
                context.Response.StatusCode = StatusCodes.Status304NotModified;
                return;
            }
            context.Response.ContentType = "application/json";
            var json = new Utf8JsonWriter(context.Response.BodyWriter);
            await using (json.ConfigureAwait(false))
                DirectoryWire.WriteEntries(json, entries);
        }

        private static bool TryReadKey(HttpContext context, out string name, out Guid process, [NotNullWhen(false)] out string? error)
        {
            name = (string)context.Request.RouteValues["name"]!;
            error = RmaDirectoryEntry.FindErrorOfName(name, "an entry");
            if (!Guid.TryParseExact((string)context.Request.RouteValues["process"]!, "N", out process))
                error ??= "the process must be 32 hexadecimal digits";
            return error is null;
        }

        /// <returns>The body; null if it is too long.</returns>
        private async Task<byte[]?> ReadBodyAsync(HttpContext context)
        {
            if (context.Request.ContentLength > options.MaxEntryBytes)
                return null;
            byte[] buffer = ArrayPool<byte>.Shared.Rent((int)options.MaxEntryBytes + 1);
            try
            {
                int length = await context.Request.Body.ReadAtLeastAsync(buffer.AsMemory(0, (int)options.MaxEntryBytes + 1), (int)options.MaxEntryBytes + 1, throwOnEndOfStream: false, context.RequestAborted).ConfigureAwait(false);
                return length > options.MaxEntryBytes ? null : buffer.AsSpan(0, length).ToArray();
            }
            finally
            {
                ArrayPool<byte>.Shared.Return(buffer);
            }
        }

        private Task RefuseAsync(HttpContext context, int status, string reason)
        {
            if (HttpMethods.IsPut(context.Request.Method))
                Log(reason);
            context.Response.StatusCode = status;
            context.Response.ContentType = "text/plain; charset=utf-8";
            return context.Response.WriteAsync(reason, context.RequestAborted);
        }

        /// <summary>One refusal per minute is logged, so that strangers can't fill the log.</summary>
        private void Log(string reason)
        {
            long others;
            lock (_gate)
            {
                long now = time.GetTimestamp();
                if (_loggedAt is { } before && time.GetElapsedTime(before, now) < TimeSpan.FromMinutes(1))
                {
                    _others++;
                    return;
                }
                _loggedAt = now;
                (others, _others) = (_others, 0);
            }
            ConnectionsLog.EntryRefused(logger, reason, others);
        }
    }
}
