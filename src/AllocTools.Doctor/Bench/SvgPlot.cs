using System.Globalization;
using System.Xml;
using Spectre.Console;

namespace AllocTools.Doctor.Bench;

/// <summary>The report as a picture: bandwidth and the median time of a transfer over its size, both axes by powers.</summary>
internal static class SvgPlot
{
    private const double Width = 960, Height = 440, Left = 70, Top = 50, PanelWidth = 350, PanelHeight = 300, Between = 110;

    private static readonly (string Test, string Picture, Color Terminal)[] Colours =
    [
        (Measurements.Rent, "#7f7f7f", Color.Grey),
        (Measurements.Write, "#1f77b4", Color.Blue),
        (Measurements.Read, "#2ca02c", Color.Green),
        (Measurements.PingPong, "#d62728", Color.Red),
        (Measurements.Stream, "#ff7f0e", Color.Orange1),
        (Measurements.RoundTrip, "#9467bd", Color.Purple),
    ];

    /// <summary>The colour of a test, in a picture and on a terminal.</summary>
    public static (string Picture, Color Terminal) ColourOf(string test) => Array.Find(Colours, c => c.Test == test) is { Test: not null } colour ? (colour.Picture, colour.Terminal) : ("#000000", Color.Default);

    /// <summary>Writes the picture.</summary>
    public static void Write(string path, IReadOnlyList<Row> rows, string title)
    {
        using var xml = XmlWriter.Create(path, new XmlWriterSettings { Indent = true });
        xml.WriteStartElement("svg", "http://www.w3.org/2000/svg");
        Attributes(xml, ("width", Width), ("height", Height));
        xml.WriteAttributeString("viewBox", string.Create(CultureInfo.InvariantCulture, $"0 0 {Width} {Height}"));
        xml.WriteAttributeString("font-family", "sans-serif");
        xml.WriteAttributeString("font-size", "12");
        xml.WriteStartElement("rect");
        Attributes(xml, ("width", Width), ("height", Height));
        xml.WriteAttributeString("fill", "white");
        xml.WriteEndElement();
        Text(xml, Width / 2, 22, "middle", title);
        // How fast a rent is says nothing in bytes.
        Panel(xml, Left, "MB/sec", [.. rows.Where(static r => !Measurements.IsLocal(r.Test))], static r => r.MegabytesPerSecond);
        Panel(xml, Left + PanelWidth + Between, "µs for a transfer, median", rows, static r => r.Latency.P50);
        double x = Left;
        foreach (string test in rows.Select(static r => r.Test).Distinct())
        {
            xml.WriteStartElement("rect");
            Attributes(xml, ("x", x), ("y", Height - 30), ("width", 12), ("height", 12));
            xml.WriteAttributeString("fill", ColourOf(test).Picture);
            xml.WriteEndElement();
            Text(xml, x + 18, Height - 20, "start", test);
            x += 120;
        }
        xml.WriteEndElement();
    }

    private static void Panel(XmlWriter xml, double left, string title, IReadOnlyList<Row> rows, Func<Row, double> value)
    {
        Text(xml, left + PanelWidth / 2, Top - 8, "middle", title);
        xml.WriteStartElement("rect");
        Attributes(xml, ("x", left), ("y", Top), ("width", PanelWidth), ("height", PanelHeight));
        xml.WriteAttributeString("fill", "none");
        xml.WriteAttributeString("stroke", "#888888");
        xml.WriteEndElement();
        if (rows.Count == 0)
            return;
        (double first, double last) = (Math.Log2(rows.Min(static r => r.Bytes)), Math.Log2(rows.Max(static r => r.Bytes)));
        double Floor(double v) => Math.Floor(Math.Log10(Math.Max(v, 1e-6)));
        (double low, double high) = (Floor(rows.Min(value)), Floor(rows.Max(value)) + 1);
        double X(double bytes) => left + (last == first ? PanelWidth / 2 : (Math.Log2(bytes) - first) / (last - first) * PanelWidth);
        double Y(double v) => Top + PanelHeight - (Math.Log10(Math.Max(v, 1e-6)) - low) / (high - low) * PanelHeight;
        for (double power = low; power <= high; power++)
        {
            double y = Y(Math.Pow(10, power));
            Line(xml, left, y, left + PanelWidth, y, "#dddddd");
            Text(xml, left - 6, y + 4, "end", Math.Pow(10, power).ToString("0.######", CultureInfo.InvariantCulture));
        }
        foreach (int bytes in rows.Select(static r => r.Bytes).Distinct())
            Text(xml, X(bytes), Top + PanelHeight + 16, "middle", Row.Short(bytes));
        foreach (IGrouping<string, Row> test in rows.GroupBy(static r => r.Test))
        {
            xml.WriteStartElement("polyline");
            xml.WriteAttributeString("points", string.Join(' ', test.Select(r => string.Create(CultureInfo.InvariantCulture, $"{X(r.Bytes):0.0},{Y(value(r)):0.0}"))));
            xml.WriteAttributeString("fill", "none");
            xml.WriteAttributeString("stroke", ColourOf(test.Key).Picture);
            xml.WriteAttributeString("stroke-width", "2");
            xml.WriteEndElement();
            foreach (Row row in test)
            {
                xml.WriteStartElement("circle");
                Attributes(xml, ("cx", X(row.Bytes)), ("cy", Y(value(row))), ("r", 3));
                xml.WriteAttributeString("fill", ColourOf(test.Key).Picture);
                xml.WriteElementString("title", "http://www.w3.org/2000/svg", string.Create(CultureInfo.InvariantCulture, $"{row.Test}, {Row.Short(row.Bytes)}: {value(row):0.###}"));
                xml.WriteEndElement();
            }
        }
    }

    private static void Line(XmlWriter xml, double x1, double y1, double x2, double y2, string colour)
    {
        xml.WriteStartElement("line");
        Attributes(xml, ("x1", x1), ("y1", y1), ("x2", x2), ("y2", y2));
        xml.WriteAttributeString("stroke", colour);
        xml.WriteEndElement();
    }

    private static void Text(XmlWriter xml, double x, double y, string anchor, string text)
    {
        xml.WriteStartElement("text");
        Attributes(xml, ("x", x), ("y", y));
        xml.WriteAttributeString("text-anchor", anchor);
        xml.WriteString(text);
        xml.WriteEndElement();
    }

    private static void Attributes(XmlWriter xml, params ReadOnlySpan<(string Name, double Value)> attributes)
    {
        foreach ((string name, double value) in attributes)
            xml.WriteAttributeString(name, value.ToString("0.##", CultureInfo.InvariantCulture));
    }
}
