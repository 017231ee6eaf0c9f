using System.Reflection;
using AllocTools.Connections;
using Microsoft.Extensions.Logging;

namespace AllocTools.Hosting.Tests.Reference;

/// <summary>Writes the table of log events in docs/configuration.md.</summary>
internal static class EventWriter
{
    public static IEnumerable<string> Table() =>
    [
        "| id | level | message |",
        "|---|---|---|",
        .. from type in new[] { typeof(RmaMemoryPoolOptions), typeof(IRmaMemoryPoolBuilder), typeof(RmaConnectionOptions) }.SelectMany(t => t.Assembly.GetTypes())
           from method in type.GetMethods(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic)
           let message = method.GetCustomAttribute<LoggerMessageAttribute>()
           where message is not null
           orderby message.EventId
           select $"| {message.EventId} | {message.Level} | {message.Message.Replace("\n", " ", StringComparison.Ordinal)} |",
    ];
}
